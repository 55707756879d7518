"""Commands about roles and the lease: status, claim, proof, fence, promote, release, confirm, trust."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from . import backup, channel, facts, hub_state, roles, working
from .config import KeeperConfig
from .doors import Doors
from .errors import KeeperError
from .keeper import Beats, run
from .roles import Claim, SiteState
from .scan import is_home
from .store import Store, read_json, wait_for_receivers


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this module's commands."""
    subparsers.add_parser("run", help="the daemon").set_defaults(
        run=lambda config, _: run(config, channel.shared(config))
    )
    subparsers.add_parser("status", help="role, lease, claim, peer, watermark").set_defaults(run=status)
    claim_ = subparsers.add_parser("claim", help="on the site to be promoted: announce a handover")
    claim_.add_argument("--by", required=True, help="who, and from where")
    claim_.add_argument("--kind", required=True, choices=("failover", "failback", "drill"))
    claim_.add_argument("--take-over", action="store_true", help="replace the claim of another command")
    proof = subparsers.add_parser("proof", help="on the site to be promoted: the other one cannot write")
    proof.add_argument("--how", required=True, choices=("ssh", "cloud", "admin"))
    proof.add_argument("--detail", required=True)
    fence = subparsers.add_parser("fence", help="this site stops writing; answers when nothing writes any more")
    promote = subparsers.add_parser("promote", help="this site becomes the active one")
    promote.add_argument("--older-files", action="store_true", help="even without the newest files of the class")
    for parser, function in ((claim_, claim), (proof, prove), (fence, fence_site), (promote, promote_site)):
        parser.add_argument("--epoch", type=int, required=True)
        parser.add_argument("--token", required=True)
        parser.set_defaults(run=function)
    release = subparsers.add_parser("release", help="the command is done with this site")
    release.add_argument("--token", required=True)
    release.set_defaults(run=release_site)
    confirm = subparsers.add_parser("confirm", help="an admin's word that the other site is not active")
    confirm.add_argument("--by", required=True)
    confirm.set_defaults(run=confirm_site)
    mark = subparsers.add_parser(
        "mark", help="files of these homes were changed by hand: they are copied with the next cycle"
    )
    mark.add_argument("homes", nargs="+", metavar="HOME")
    mark.set_defaults(run=mark_homes)
    trust = subparsers.add_parser("trust", help="the peer's SSH host key")
    trust.add_argument("--host-key", required=True)
    trust.set_defaults(run=trust_key)


def brief(store: Store, state: SiteState) -> dict[str, Any]:
    """What every command answers with."""
    fresh = store.fresh(state)
    return {
        "site": state.site,
        "role": state.role,
        "epoch": state.epoch,
        "seen_epoch": state.seen_epoch,
        "writable": roles.writable(state, lease_fresh=fresh),
        "claim": roles.to_json(state)["claim"],
        "claim_holds": state.claim is not None and state.claim.boot == store.boot,
        "proof_holds": state.proof is not None and state.proof.boot == store.boot,
    }


def status(config: KeeperConfig, _: argparse.Namespace) -> dict[str, Any]:
    """Everything about this site that an admin's command decides by."""
    store = Store(config)
    state, lease = store.read(), store.lease()
    hello, ago_s = Beats(store).last()
    fresh = store.fresh(state)
    return {
        **brief(store, state),
        "active_epoch": state.active_epoch,
        "proof": roles.to_json(state)["proof"],
        "lapsed": state.lapsed,
        "lease": {
            "fresh": fresh,
            "left_s": round(lease.until_boottime_s - store.boottime(), 1) if lease and fresh else 0,
        },
        "peer": {
            "known": bool(config.host_key()) or state.met,
            "answered_s_ago": None if ago_s is None else round(ago_s, 1),
            "role": hello["role"] if hello else None,
            "epoch": hello["epoch"] if hello else None,
        },
        "watermark": read_json(config.watermark_file),
        **facts.all_of(config),
        "backup": backup.status(config),
    }


def claim(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """This site is about to be promoted by that command."""
    store, now = Store(config), time.time()
    wanted = Claim(arguments.token, arguments.by, now, arguments.epoch, arguments.kind, store.boot)

    def transition(state: SiteState) -> SiteState:
        age_s = now - state.claim.at if state.claim else 0
        return roles.claim(state, wanted, take_over=arguments.take_over, age_s=age_s)

    return brief(store, store.change(transition))


def prove(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """The other site is fenced or has no power."""
    store = Store(config)
    state = store.change(
        lambda state: roles.prove(
            state,
            arguments.epoch,
            arguments.token,
            arguments.how,
            arguments.detail,
            at=time.time(),
            boot=store.boot,
        )
    )
    return brief(store, state)


def fence_site(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """This site stops writing; the answer comes when hub and students' servers have ended."""
    store, doors = Store(config), Doors(config)
    with store.locked() as own:
        state = own.put(roles.fence(own.state, arguments.epoch, arguments.token))
        doors.shut(state)
    doors.end_hub()
    return {**brief(store, state), **doors.remove_servers()}


def promote_site(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """This site becomes the active one, with a lease."""
    store = Store(config)
    watermark = read_json(config.watermark_file) or {}
    hub_state.finish(config)
    with store.locked() as own:
        state = roles.promote(
            own.state,
            arguments.epoch,
            arguments.token,
            boot=store.boot,
            watermark_epoch=int(watermark.get("epoch", 0)),
            older_files=arguments.older_files,
        )
        own.put(state)
        # From here on none begins; one that is under way must not write over what students write.
        wait_for_receivers(config)
        hub_state.forget_placed(config)
        own.grant_now()
        Doors(config).open()
    return brief(store, state)


def release_site(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """The claim of that token goes."""
    store = Store(config)
    return brief(store, store.change(lambda state: roles.release(state, arguments.token)))


def confirm_site(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """A lapsed active site writes again, on an admin's word."""
    store = Store(config)
    with store.locked() as own:
        state = own.put(roles.confirm(own.state, arguments.by, time.time()))
        own.grant_now()
        Doors(config).open()
    return brief(store, state)


def mark_homes(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """What an admin changed in homes whose students have no server would else be found by the daily comparison only."""
    for home in arguments.homes:
        if not is_home(home) or not (config.homes_path / home).is_dir():
            raise KeeperError(f"{home!r} is no home on this site; give the name of a folder in {config.homes_path}")
    for home in arguments.homes:
        working.mark(config, home)
    return {"marked": len(arguments.homes)}


def trust_key(config: KeeperConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """From now on the peer is known by that key."""
    key = " ".join(arguments.host_key.split()[:2])
    if not re.fullmatch(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,3}", key):
        raise KeeperError(
            f"{arguments.host_key[:40]!r} is no SSH host key; give the line of /etc/ssh/ssh_host_ed25519_key.pub of the fallback "
            "machine, such as 'ssh-ed25519 AAAA…'"
        )
    config.site_path.mkdir(parents=True, exist_ok=True)
    changed = config.host_key() != key
    if changed:
        temporary = config.host_key_file.with_suffix(".new")
        temporary.write_text(key + "\n")
        temporary.replace(config.host_key_file)
    return {"changed": changed}
