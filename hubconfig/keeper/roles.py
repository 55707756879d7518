"""Who may write: pure transitions of one site's role. No clocks, no files; :mod:`.store` keeps the result.

Every handover of the class has a number, its *epoch*, which only grows. A site that was promoted in epoch N is active in
N; promoting it needed a proof that the other site is fenced for N, or has no power. After that the other site can only
become active in a later epoch, and for that this one must be fenced first. So at no moment do two sites write.

A function takes the state and returns the new one, or raises KeeperError with the sentence that the admin reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .errors import KeeperError


@dataclass(frozen=True)
class Claim:
    """An admin's command that is about to make this site the active one."""

    token: str
    """Known to the command alone; it makes its steps repeatable and keeps those of others out."""
    by: str
    at: float
    """Wall clock of this site, s since 1970: to tell its age, never to decide anything."""
    epoch: int
    kind: str
    """``failover``, ``failback`` or ``drill``."""
    boot: str
    """This machine's boot (:func:`.lease.boot_mark`). What the command saw of the other site before is old news after a restart
    of this one: meanwhile somebody may have made sure that *this* site was off, and let the other one go on."""


@dataclass(frozen=True)
class Proof:
    """The other site cannot write: fenced over SSH, or without power."""

    epoch: int
    how: str
    """``ssh``, ``cloud`` (stopped through its API, read back) or ``admin`` (a person says so)."""
    detail: str
    at: float
    boot: str
    """As the claim's."""


@dataclass(frozen=True)
class SiteState:
    """What one site knows, durably."""

    site: str
    role: str
    epoch: int
    """Of the last change of ``role``."""
    seen_epoch: int
    """Newest number heard of, here or from the peer, whether or not anything came of it."""
    active_epoch: int
    """Newest epoch in which some site was active."""
    data_epoch: int
    """Newest epoch whose files this site holds by having been active in it; replication raises it by the watermark."""
    fence_token: str = ""
    """Whose fence it is; "" when the site fenced itself on hearing of a newer epoch."""
    claim: Claim | None = None
    proof: Proof | None = None
    lapsed: bool = True
    """The lease ran out or never was: the peer or an admin must be asked before this site writes again."""
    tried: bool = False
    """Has had a lease. A machine made anew from nothing has not, and must not write over what its peer holds."""
    met: bool = False
    """Has heard from its peer, ever."""
    lineage: str = ""
    """Name of the class's files since their beginning; a machine that began anew has another one and must not copy over."""
    confirmed: Mapping[str, Any] | None = None
    """Last `confirm`: by whom and when."""


def first(site: str, role: str) -> SiteState:
    """State of a site without history. The class begins in epoch 1 on the active one; a standby knows that much without being
    told, so that no handover to it can take that number."""
    epoch = 1 if role == "active" else 0
    return SiteState(site=site, role=role, epoch=epoch, seen_epoch=1, active_epoch=1, data_epoch=0)


def to_json(state: SiteState) -> dict[str, Any]:
    """For the file."""
    return asdict(state)


def from_json(raw: Mapping[str, Any]) -> SiteState:
    """From the file; keys of a newer version are left out."""
    known = {item.name for item in fields(SiteState)}
    values = {name: value for name, value in raw.items() if name in known}
    for name, kind in (("claim", Claim), ("proof", Proof)):
        if values.get(name) is not None:
            values[name] = kind(**values[name])
    return SiteState(**values)


def holds(state: SiteState, watermark_epoch: int) -> tuple[int, bool]:
    """Which files are here, to be compared: of which epoch, and whether all of it (this site was active in it) or a copy as
    of some moment. ``watermark_epoch``: of this site's watermark."""
    return max(state.data_epoch, watermark_epoch), state.data_epoch >= watermark_epoch


def hello(state: SiteState, *, writable: bool, watermark_epoch: int = 0) -> dict[str, Any]:
    """What a site tells its peer about itself. The token of a claim stays at home."""
    claim, proof = state.claim, state.proof
    return {
        "site": state.site,
        "role": state.role,
        "epoch": state.epoch,
        "seen_epoch": state.seen_epoch,
        "active_epoch": state.active_epoch,
        "holds": list(holds(state, watermark_epoch)),
        "lineage": state.lineage,
        "writable": writable,
        "claim": {"epoch": claim.epoch, "by": claim.by, "at": claim.at, "kind": claim.kind} if claim else None,
        "proof_epoch": proof.epoch if proof and claim and proof.epoch == claim.epoch else 0,
    }


def hear(state: SiteState, peer: Mapping[str, Any]) -> SiteState:
    """The peer's hello. Epochs only grow, so an old hello does no harm. An active site that hears of a newer active one,
    or of a proof that itself has no power, fences itself at once."""
    raised = replace(
        state,
        met=True,
        seen_epoch=max(state.seen_epoch, int(peer["seen_epoch"])),
        active_epoch=max(state.active_epoch, int(peer["active_epoch"])),
        lineage=state.lineage or str(peer["lineage"]),
    )
    if state.role != "active":
        return raised
    overtaken = [int(peer["active_epoch"]), int(peer["proof_epoch"])]
    newest = max(epoch if epoch > state.epoch else 0 for epoch in overtaken)
    if peer["role"] == "active" and int(peer["epoch"]) >= state.epoch:
        newest = max(newest, int(peer["epoch"]))
    if not newest:
        return raised
    return replace(raised, role="fenced", epoch=newest, fence_token="", claim=None, proof=None, lapsed=True)


def claim(state: SiteState, wanted: Claim, *, take_over: bool = False, age_s: float = 0) -> SiteState:
    """A command announces itself on the site that it will promote. Asking again with the same token changes nothing, but
    after a restart of this machine the command has to fence the other site again."""
    present = state.claim
    if present and (present.token, present.epoch) == (wanted.token, wanted.epoch):
        if state.role == "active" or present.boot == wanted.boot:
            return state
        return replace(state, claim=replace(present, boot=wanted.boot), proof=None)
    if state.role == "active":
        raise KeeperError(
            f"the {state.site} site is already active (epoch {state.epoch}), so there is nothing to hand over to it; "
            "look at `./hub fallback.status`"
        )
    if present and present.token != wanted.token and not take_over:
        raise KeeperError(
            f"another {present.kind} is in progress on the {state.site} site: by {present.by}, begun {max(0, age_s):.0f} s ago "
            "by this site's clock; run that one again to finish it, or take it over with --take-over"
        )
    if wanted.epoch <= state.seen_epoch:
        raise KeeperError(_old(state, wanted.epoch))
    return replace(state, claim=wanted, proof=None, seen_epoch=wanted.epoch, met=True)


def prove(state: SiteState, epoch: int, token: str, how: str, detail: str, *, at: float, boot: str) -> SiteState:
    """On the target: the other site cannot write any more."""
    holder = _own_claim(state, epoch, token)
    if state.seen_epoch > epoch:
        raise KeeperError(_old(state, epoch))
    if holder.boot != boot:
        raise KeeperError(_restarted(state, epoch))
    present = state.proof
    if present and (present.epoch, present.how, present.boot) == (epoch, how, boot):
        return state
    return replace(state, proof=Proof(epoch, how, detail, at, boot))


def fence(state: SiteState, epoch: int, token: str) -> SiteState:
    """This site writes no more, until it is promoted in a later epoch. Asking again with the same token changes nothing."""
    if state.role == "fenced" and state.epoch == epoch == state.seen_epoch and state.fence_token in (token, ""):
        # "": it heard of this very epoch from its peer before the command came
        return replace(state, fence_token=token)
    if epoch < state.seen_epoch or (state.role in ("active", "fenced") and epoch <= state.epoch):
        raise KeeperError(_old(state, epoch))
    present = state.claim
    if present and present.token != token and present.epoch >= epoch:
        raise KeeperError(
            f"the {state.site} site is itself the target of a {present.kind} by {present.by} in epoch {present.epoch}; "
            f"finish or release that one first (this fence was for epoch {epoch})"
        )
    return replace(
        state, role="fenced", epoch=epoch, seen_epoch=epoch, fence_token=token, claim=None, proof=None, lapsed=True
    )


def promote(
    state: SiteState, epoch: int, token: str, *, boot: str, watermark_epoch: int = 0, older_files: bool = False
) -> SiteState:
    """The target becomes the active site. Asking again changes nothing; the lease is the caller's (:mod:`.lease`)."""
    if state.role == "active" and state.epoch == epoch:
        if state.claim is None or state.claim.token != token:
            raise KeeperError(f"the {state.site} site is active in epoch {epoch}, but not by this command")
        if state.proof is None or state.proof.boot != boot:
            raise KeeperError(
                f"the {state.site} site was promoted in epoch {epoch} and has restarted since; it writes again when its peer "
                "answers, or after `confirm` by an admin who knows that the other site is not active"
            )
        return replace(state, lapsed=False, tried=True)
    _own_claim(state, epoch, token)
    if state.seen_epoch != epoch:
        raise KeeperError(_old(state, epoch))
    if state.proof is None or state.proof.epoch != epoch:
        raise KeeperError(
            f"the {state.site} site is not promoted in epoch {epoch}: there is no proof yet that the other site is fenced; "
            "fence it first"
        )
    if state.proof.boot != boot:
        raise KeeperError(_restarted(state, epoch))
    held, newest = holds(state, watermark_epoch)[0], state.active_epoch
    if held < newest and not older_files:
        raise KeeperError(
            f"the {state.site} site is not promoted: its files are {f'of epoch {held}' if held else 'not the class’s'}, and the class "
            f"last worked in epoch {newest}; let it catch up first (`./hub replicate`), or say --older-files to go on without"
        )
    return replace(
        state,
        role="active",
        epoch=epoch,
        active_epoch=epoch,
        data_epoch=epoch,
        fence_token="",
        lapsed=False,
        tried=True,
    )


def release(state: SiteState, token: str) -> SiteState:
    """The command is done with this site, or gives up. Without a claim of that token nothing changes."""
    if state.claim is None or state.claim.token != token:
        return state
    return replace(state, claim=None, proof=None)


def confirm(state: SiteState, by: str, at: float) -> SiteState:
    """An admin's word that the other site is not active: an active site whose lease lapsed may write again."""
    if state.role != "active":
        raise KeeperError(
            f"the {state.site} site is {state.role} (epoch {state.epoch}), and a word cannot change that; "
            "make it the active one with `./hub failover` or `./hub failback`"
        )
    return replace(state, lapsed=False, tried=True, data_epoch=state.epoch, confirmed={"by": by, "at": at})


def lapse(state: SiteState) -> SiteState:
    """The lease ran out."""
    return state if state.lapsed else replace(state, lapsed=True)


def resume(state: SiteState, lineage: str) -> SiteState:
    """The lease begins (again), after the peer was asked or where there is none. ``lineage``: for a class that begins here."""
    if state.role != "active":
        raise KeeperError(f"the {state.site} site is {state.role}; only an active one has a lease")
    if not state.lapsed and state.tried and state.lineage and state.data_epoch >= state.epoch:
        return state
    return replace(
        state,
        lapsed=False,
        tried=True,
        data_epoch=max(state.data_epoch, state.epoch),
        lineage=state.lineage or lineage,
    )


def rejoined(state: SiteState) -> SiteState:
    """A fenced site that holds all of the active one's files again stands by."""
    if state.role != "fenced":
        return state
    return replace(state, role="standby")


def writable(state: SiteState, *, lease_fresh: bool) -> bool:
    """Whether this site writes: active in the newest epoch that was active anywhere, with a fresh lease."""
    return state.role == "active" and lease_fresh and not state.lapsed and state.epoch >= state.active_epoch


def refuses_push(state: SiteState, sender: Mapping[str, Any], *, token: str = "", watermark_epoch: int = 0) -> str:
    """Why this site takes no files from the sender of that hello; "" when it does.

    It takes them from the active site of the newest epoch, and from a fenced one for the last sync of its own handover:
    then ``token`` is that of the claim here, and the sender was fenced for that claim's epoch. What is copied replaces what
    is here, so never from a site whose files are older (:func:`holds`), or another class's.
    """
    role, epoch = str(sender["role"]), int(sender["epoch"])
    if state.role == "active":
        return f"the {state.site} site is active itself (epoch {state.epoch})"
    if state.lineage and sender["lineage"] != state.lineage:
        return (
            f"the {state.site} site holds the files of a class that began elsewhere; if they may go, bring this site up anew "
            "(`./hub fallback.destroy`, `./hub fallback.up`), else move the class here first"
        )
    if has_newer(state, sender, watermark_epoch):
        return f"the sender's files are of epoch {sender['holds'][0]}, and those here are newer"
    if role == "active":
        if epoch < state.active_epoch:
            return f"the sender is active in epoch {epoch}, but epoch {state.active_epoch} is known here"
        return ""
    if role == "fenced" and state.claim and state.claim.token == token and state.claim.epoch == epoch:
        return ""
    return f"the sender is {role} (epoch {epoch}); only the active site's files are taken"


def has_newer(state: SiteState, peer: Mapping[str, Any], watermark_epoch: int) -> bool:
    """Whether this site's files are newer than those of the peer of that hello: then there is nothing to copy from it."""
    theirs = (int(peer["holds"][0]), bool(peer["holds"][1]))
    return theirs < holds(state, watermark_epoch)


def _own_claim(state: SiteState, epoch: int, token: str) -> Claim:
    present = state.claim
    if present is None or present.token != token or present.epoch != epoch:
        holder = f"it belongs to {present.by} in epoch {present.epoch}" if present else "there is none"
        raise KeeperError(
            f"this command has no claim on the {state.site} site for epoch {epoch}: {holder}; run the command again from its start"
        )
    return present


def _restarted(state: SiteState, epoch: int) -> str:
    return (
        f"the {state.site} site has restarted since it was claimed for epoch {epoch}, and may have missed news; claim it again, "
        "fence the other site again, then go on"
    )


def _old(state: SiteState, epoch: int) -> str:
    return (
        f"epoch {epoch} is too old for the {state.site} site, which is {state.role} in epoch {state.epoch} and knows of epoch "
        f"{state.seen_epoch}; another command went on meanwhile, so run yours again: it takes a newer number"
    )
