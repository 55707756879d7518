"""Between the moves: copying now instead of in a few seconds, and an admin's word for a site that cannot ask its peer."""

from __future__ import annotations

import time

from operations.errors import UserError
from operations.failover.context import semester_with_fallback, sites_of
from operations.failover.moves import DIALS, SYNC_TIMEOUT_S, who
from operations.failover.sites import look
from operations.progress import note, step


def replicate(stack: str) -> None:
    """One cycle now, in whichever direction; raises UserError with the reason when it does not get through."""
    semester = semester_with_fallback(stack)
    with sites_of(stack, semester) as sites, step("copying what changed to the other site"):
        mark = sites.named(DIALS).keeper("sync", timeout_s=SYNC_TIMEOUT_S)
    age_s = max(0.0, time.time() - float(mark["homes_until"]))
    note(
        f"everything that was written until {age_s:.0f} s ago is on both sites (epoch {mark['epoch']}, copy {mark['seq']})"
    )


def confirm(stack: str, site: str) -> None:
    """The site writes again although its peer does not answer. Raises UserError when the peer does, or says otherwise."""
    semester = semester_with_fallback(stack)
    if site not in ("cloud", "fallback"):
        raise UserError(f"--site {site}: allowed are cloud and fallback")
    with sites_of(stack, semester) as sites:
        other = look(sites.other(site))
        if other is not None:
            raise UserError(
                f"the {sites.other(site).name} site answers ({other['role']} in epoch {other['epoch']}), so the {site} site "
                "needs nobody's word: it asks by itself as soon as the two reach each other"
            )
        answer = sites.named(site).keeper("confirm", "--by", who())
    note(f"the {site} site is {answer['role']} in epoch {answer['epoch']} and writes again")
