"""What must be true before a class is moved, each line with its remedy: nothing is touched until all of it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from operations.errors import UserError
from operations.failover.journal import Move
from operations.failover.sites import Sites, UnreachableError

GIB = 1024**3
LEAST_FREE_BYTES = 1 * GIB
CERTIFICATE_LASTS_S = 2 * 3600
"""One that ends sooner would end in the middle of the class that was just saved. Not longer: the edge's own authority
gives certificates of twelve hours and renews them when a third is left."""


@dataclass(frozen=True)
class Line:
    """One finding. `problem` is empty when all is well; else it is a sentence, and `remedy` says what to do."""

    name: str
    found: str
    problem: str = ""
    remedy: str = ""
    fatal: bool = True
    """Whether a move stops at it; else it is only said."""

    @property
    def ok(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Seen:
    """What was seen of both sites; None where a site does not answer."""

    source: dict[str, Any] | None
    target: dict[str, Any] | None


def preflight(
    move: Move, sites: Sites, seen: Seen, *, rpo_s: float, accept_loss: bool, dns: Callable[[], str] | None
) -> list[Line]:
    """Every line, the failed ones too. `dns`: asks the provider; "" or a sentence that says what is wrong."""
    target = seen.target
    if target is None:
        host = sites.named(move.target).address
        return [
            Line(
                f"{move.target} site",
                "does not answer",
                f"the {move.target} site ({host}) cannot be reached",
                _reach(move),
            )
        ]
    lines = [
        Line(f"{move.target} site", f"{target['role']} in epoch {target['epoch']}"),
        _role(move, target),
        _claim(move, target),
        _disk(move, target, seen.source),
        _images(move, target, seen.source),
        _certificate(move, target),
        _watermark(move, target, seen.source, rpo_s, accept_loss=accept_loss),
    ]
    if dns is not None:
        problem = dns()
        lines.append(
            Line(
                "name",
                problem or "the DNS provider takes changes",
                problem,
                "see `fallback.dns` in the stack file: ./hub dns.show",
            )
        )
    if seen.source is None:
        lines.append(
            Line(
                f"{move.source} site",
                f"does not answer: it is fenced {'through its cloud, or by you' if move.source == 'cloud' else 'by you'}",
                fatal=False,
            )
        )
    else:
        lines.append(Line(f"{move.source} site", f"{seen.source['role']} in epoch {seen.source['epoch']}"))
    return lines


def _reach(move: Move) -> str:
    if move.target == "fallback":
        return f"look at the machine and its SSH (`./hub fallback.status --stack {move.stack}`)"
    return f"start the hub VM: ./hub up --stack {move.stack}"


def _role(move: Move, target: dict[str, Any]) -> Line:
    name = "role"
    if target["role"] == "active":
        return Line(name, "active", f"the {move.target} site is active already", "nothing is to be moved: ./hub status")
    if target["role"] == "fenced" and (target.get("claim") or {}).get("token") != move.token:
        return Line(
            name,
            "fenced",
            f"the {move.target} site is fenced and has not come back as a standby yet",
            "wait until it has caught up with the other site: ./hub fallback.status",
        )
    return Line(name, target["role"])


def _claim(move: Move, target: dict[str, Any]) -> Line:
    claim = target.get("claim")
    if claim and claim["token"] != move.token:
        return Line(
            "other moves",
            f"a {claim['kind']} by {claim['by']}",
            f"another {claim['kind']} is in progress, begun by {claim['by']} at {_clock(claim['at'])} UTC",
            "speak with them; if nobody is at it any more, add --take-over",
        )
    return Line("other moves", "none")


def _clock(at: Any) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(float(at))) if isinstance(at, int | float) else str(at)


def _disk(move: Move, target: dict[str, Any], source: dict[str, Any] | None) -> Line:
    free = int(target["disk"]["homes_free_bytes"])
    stored = int((source or {}).get("disk", {}).get("homes_used_bytes", 0))
    missing = max(0, stored - int(target["disk"]["homes_used_bytes"]))
    need = missing + LEAST_FREE_BYTES
    found = f"{free / GIB:.1f} GiB free"
    if free < need:
        return Line(
            "disk",
            found,
            f"the {move.target} site's disk is too small: {free / GIB:.1f} GiB are free, {need / GIB:.1f} GiB are needed",
            "give the file system at /srv/semesterhub/homes more room",
        )
    return Line("disk", found)


def _images(move: Move, target: dict[str, Any], source: dict[str, Any] | None) -> Line:
    missing = list(target.get("missing_images") or [])
    up = f"bring it to the same state: ./hub fallback.up --stack {move.stack}"
    if move.target == "cloud":
        up = f"./hub up --stack {move.stack}"
    if missing:
        return Line(
            "images", ", ".join(missing), f"images are missing on the {move.target} site: {', '.join(missing)}", up
        )
    mine, theirs = target.get("release"), (source or {}).get("release")
    if mine and theirs and mine != theirs:
        return Line(
            "images",
            f"{mine} here, {theirs} there",
            f"the {move.target} site runs other images or settings than the {move.source} site",
            up,
        )
    return Line("images", f"the same as on the {move.source} site" if theirs else "all there")


def _certificate(move: Move, target: dict[str, Any]) -> Line:
    until = target.get("certificate_not_after")
    if until is None:
        return Line(
            "certificate",
            "none yet",
            f"the {move.target} site shows no certificate for the hub's name that a browser takes"
            + (f" ({target['certificate_problem']})" if target.get("certificate_problem") else ""),
            "let the sites replicate once (it comes with the hub's state): ./hub replicate",
        )
    left = float(until) - time.time()
    if left < CERTIFICATE_LASTS_S:
        state = "has expired" if left <= 0 else f"expires in {left / 3600:.0f} h"
        return Line(
            "certificate",
            state,
            f"the certificate on the {move.target} site {state}",
            "the active site renews it: look at its edge's log, then ./hub replicate",
        )
    return Line(
        "certificate", f"good for {left / 86400:.0f} days" if left > 2 * 86400 else f"good for {left / 3600:.0f} h"
    )


def _watermark(
    move: Move, target: dict[str, Any], source: dict[str, Any] | None, rpo_s: float, *, accept_loss: bool
) -> Line:
    mark = target.get("watermark")
    allowed = "allowed: add --accept-loss" if not accept_loss else ""
    if not mark:
        return Line(
            "replication",
            "never",
            "" if accept_loss else f"nothing has been copied to the {move.target} site yet",
            "let the sites replicate once: ./hub replicate; what was never copied cannot be saved: --accept-loss",
        )
    age_s = max(0.0, time.time() - float(mark["homes_until"]))
    found = f"complete up to {age_s:.0f} s ago"
    # With the source alive the last sync, after the fence, brings the rest: then the age costs time and no writes.
    limit = max(10 * rpo_s, 600) if source else rpo_s
    if age_s > limit and not accept_loss:
        return Line(
            "replication",
            found,
            f"the last complete copy on the {move.target} site is {age_s:.0f} s old, more than the {limit:.0f} s "
            f"that {'a last sync may take' if source else 'the stack allows to lose (fallback.targets.rpo_s)'}",
            f"bring the sync up to date (./hub replicate), or accept what is lost: {allowed or '--accept-loss'}",
        )
    return Line("replication", found)


def refuse(lines: list[Line]) -> None:
    """Raises UserError with every line that stops the move; nothing was touched."""
    bad = [line for line in lines if line.problem and line.fatal]
    if bad:
        raise UserError("nothing was touched:\n" + "\n".join(f"  {line.problem}: {line.remedy}." for line in bad))


def see(move: Move, sites: Sites) -> Seen:
    """Ask both sites."""

    def ask(name: str) -> dict[str, Any] | None:
        try:
            return sites.named(name).status()
        except UnreachableError:
            return None

    return Seen(ask(move.source), ask(move.target))
