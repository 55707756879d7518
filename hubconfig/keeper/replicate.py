"""Copies homes and hub state from the active site to the other one, over and over.

The dialing site does it in both directions: it pushes while it is the active one, and pulls while its peer is. Homes and hub
state go beside each other, so that a first copy of homes, which may take an hour, keeps no sign-in waiting.
"""

from __future__ import annotations

import argparse
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from . import watermark
from .channel import Channel, make_key, quoted, shared, ssh
from .config import KeeperConfig
from .cycles import Cycles
from .errors import KeeperError
from .homes import Copier, Ends
from .hub_state import Shipment, finish
from .keeper import Beats, say
from .paths import INCOMING
from .peer import Receiver, Sender
from .rejoin import LocalReturned, LocalStanding, rejoin, rejoined
from .remote import RemoteReceiver, RemoteReturned, RemoteSender, RemoteStanding
from .roles import SiteState
from .source import Result
from .store import Store, read_json, write_json
from .watermark import Watermark

PEER_HEARD_S = 15
"""A peer that was not heard for this long is not pulled from."""
QUIET_S = 2
"""How often a watermark says that there is nothing new."""
REQUEST = "sync.json"
ANSWER = "sync-done.json"
SYNC_S = 3600.0
LOOK_S = 0.2


class Idle(Exception):
    """Nothing is to be copied now."""


class Link:
    """The dialing site's two ends at this moment. Raises Idle when there is nothing to copy either way."""

    def __init__(self, config: KeeperConfig, channel: Channel, token: str) -> None:
        peer = config.peer
        if peer is None:
            raise Idle("there is no other site")
        self.state = Store(config).read()
        self.token = token
        self.pushes = _pushes(config, self.state, token)
        here, there = str(config.homes_path), f"{peer.host}:{config.homes_path}"
        shell = quoted(ssh(config, master=False))
        self.there_to_here = Ends(there, here, shell)
        self.here_to_there = Ends(here, there, shell)
        self.receiver: Receiver | RemoteReceiver = RemoteReceiver(channel) if self.pushes else Receiver(config)
        self.sender: Sender | RemoteSender = Sender(config) if self.pushes else RemoteSender(channel)
        self.copier = (
            Copier(self.here_to_there)
            if isinstance(self.receiver, RemoteReceiver)
            else Copier(self.there_to_here, self.receiver.guard)
        )

    def open(self) -> int:
        """Both sides agree; the epoch of the files."""
        self.receiver.open(self.sender.open(), self.token)
        return self.sender.epoch


def _pushes(config: KeeperConfig, state: SiteState, token: str) -> bool:
    """Whether files go from here to the other site; False: the other way."""
    if token:
        if state.role == "fenced" and state.fence_token == token:
            return True
        if state.claim and state.claim.token == token:
            return False
        raise Idle(
            f"the {state.site} site is neither fenced for this command nor claimed by it, so it has no last copy to make"
        )
    if state.role == "active":
        if not Store(config).writable():
            raise Idle(f"the {state.site} site does not write at present, so it has nothing to give")
        return True
    if _peer_role(config) != "active":
        raise Idle("neither site is active, or the other one does not answer: there is nothing to copy")
    return False


class Marks:
    """The watermark that both loops raise."""

    def __init__(self, config: KeeperConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._mark = Watermark(0, 0, 0, 0, 0)

    def raised(
        self, epoch: int, link: Link, *, homes: tuple[Result, int, float] | None = None, state_until: float = 0
    ) -> Watermark:
        """Publishes on the standby first, then on the active site: it never says more than the standby holds."""
        with self._lock:
            if self._mark.epoch != epoch:
                saved = watermark.load(self._config)
                self._mark = saved if saved and saved.epoch == epoch else Watermark(epoch, 0, 0, 0, 0)
            mark = replace(self._mark, seq=self._mark.seq + 1, published_at=time.time())
            if homes:
                result, moved, took_s = homes
                mark = replace(
                    mark,
                    homes_until=max(mark.homes_until, result.homes_until),
                    users=result.users,
                    left=result.left,
                    held_by=dict(list(result.held_by.items())[: watermark.HELD_MAX]),
                    bytes=moved,
                    took_s=round(took_s, 2),
                )
            if state_until:
                mark = replace(mark, hub_state_until=max(mark.hub_state_until, state_until))
            link.receiver.publish(mark)
            link.sender.publish(mark)
            self._mark = mark
            return mark


class StateLoop:
    """Hub state, about once a second."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._published_at = -QUIET_S
        self._arrived = False
        self._again = False

    def step(self, link: Link) -> Watermark | None:
        """One look."""
        epoch = link.open()
        found = link.sender.state.look(arrived=self._arrived, again=self._again)
        self._arrived = self._again = False
        if isinstance(found, Shipment):
            try:
                link.receiver.state(found)
            except KeeperError:
                self._again = True
                raise
            self._arrived = True
            until = float(found.header["until"])
        else:
            until = found
            if time.monotonic() < self._published_at + QUIET_S:
                return None
        self._published_at = time.monotonic()
        return self._marks.raised(epoch, link, state_until=until)


class Replication:
    """Both loops of the dialing site."""

    def __init__(self, config: KeeperConfig, channel: Channel, stop: threading.Event) -> None:
        self._config, self._channel, self._stop = config, channel, stop
        self._marks = Marks(config)
        self._told: dict[str, str] = {}

    def run(self) -> None:
        """Until told to stop."""
        other = threading.Thread(target=self._state_loop, daemon=True, name="hub state")
        other.start()
        self._homes_loop()
        other.join()

    def _state_loop(self) -> None:
        link: Link | None = None
        key: tuple[Any, ...] = ()
        loop = StateLoop(self._marks)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                now = _key(self._config, self._channel, "")
                if link is None or key != now:
                    link, key, loop = Link(self._config, self._channel, ""), now, StateLoop(self._marks)
                loop.step(link)
                self._tell("hub state", "")
            except Idle:
                link = None
            except (OSError, KeeperError) as error:
                self._tell("hub state", f"hub state is not copied: {error}")
                if isinstance(error, OSError):
                    link = None
            self._stop.wait(max(0.05, self._config.state_every_s - (time.monotonic() - began)))

    def _homes_loop(self) -> None:
        link: Link | None = None
        cycles: Cycles | None = None
        key: tuple[Any, ...] = ()
        while not self._stop.is_set():
            began = time.monotonic()
            request = read_json(self._config.run_path / REQUEST)
            token = str(request["token"]) if request else ""
            more = False
            try:
                now = _key(self._config, self._channel, token)
                if link is None or cycles is None or key != now:
                    if cycles is not None:
                        cycles.close()
                    link, key = Link(self._config, self._channel, token), now
                    self._bring_leftovers(link)
                    link.open()
                    cycles = Cycles(
                        link.sender.homes, link.copier, link.receiver.take, link.receiver.remove, link.receiver.flush
                    )
                mark, more = self._cycle(link, cycles)
                self._tell("homes", "")
                if request and not more:
                    mark = StateLoop(self._marks).step(link) or mark
                    self._answer(request, {"watermark": asdict(mark)})
                    link = None
            except (Idle, OSError, KeeperError) as error:
                if not isinstance(error, Idle):
                    self._tell("homes", f"homes are not copied: {error}")
                if request and not isinstance(error, OSError):
                    self._answer(request, {"refused": str(error)})
                if link is not None:
                    with suppress(OSError, KeeperError):
                        link.sender.close()
                if cycles is not None:
                    cycles.close()
                link = cycles = None
            self._wait(0 if more else self._config.homes_every_s - (time.monotonic() - began))

    def _cycle(self, link: Link, cycles: Cycles) -> tuple[Watermark, bool]:
        """One cycle of homes: the watermark, and whether another one at once would bring more."""
        began = time.monotonic()
        epoch = link.open()
        result, moved = cycles.run()
        mark = self._marks.raised(epoch, link, homes=(result, moved, time.monotonic() - began))
        if not mark.left and not mark.held_by and mark.hub_state_until and link.state.role != "standby":
            self._stands_by(link)
        return mark, result.more

    def _stands_by(self, link: Link) -> None:
        """A fenced receiver holds everything now."""
        fenced = link.state.role == "fenced" if not link.pushes else _peer_role(self._config) == "fenced"
        if fenced and not link.token:
            link.receiver.rejoined()

    def _bring_leftovers(self, link: Link) -> None:
        """A fenced site that is to take files gives first what only it holds."""
        if link.token:
            return
        if link.pushes:
            there = self._channel.call("rejoin.state")[0]
            if there["done"]:
                return
            returned, standing = (
                RemoteReturned(self._channel, int(there["epoch"])),
                LocalStanding(self._config.homes_path),
            )
            site, epoch, ends = (
                "fallback" if self._config.site == "cloud" else "cloud",
                int(there["data_epoch"]),
                link.there_to_here,
            )
        else:
            state = link.state
            if state.role != "fenced" or rejoined(self._config, state.epoch):
                return
            returned, standing = LocalReturned(self._config, state.epoch), RemoteStanding(self._channel)
            site, epoch, ends = state.site, state.data_epoch, link.here_to_there
        ends = Ends(ends.source, f"{ends.target}/{INCOMING}", ends.shell)
        plain, beside = rejoin(returned, standing, Copier(ends), site=site, epoch=epoch)
        if plain or beside:
            say(
                f"files that only the {site} site had: {plain} brought as they are, {beside} beside others of that name"
            )

    def _wait(self, seconds: float) -> None:
        """Until the next cycle is due, or somebody asks for one."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and time.monotonic() < until and not (self._config.run_path / REQUEST).exists():
            self._stop.wait(LOOK_S)
        if seconds <= 0:
            self._stop.wait(0.01)

    def _answer(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        write_json(self._config.run_path / ANSWER, {"id": request["id"], **answer}, durable=False)
        (self._config.run_path / REQUEST).unlink(missing_ok=True)

    def _tell(self, subject: str, text: str) -> None:
        if text and text != self._told.get(subject):
            say(text)
        self._told[subject] = text


def run(config: KeeperConfig, stop: threading.Event) -> None:
    """The loop (:data:`.keeper.LOOPS`). The site that is dialed only answers."""
    finish(config)
    channel = shared(config)
    if channel is not None:
        make_key(config)
    while channel is None or not config.host_key():
        if stop.wait(config.beat_every_s):
            return
    Replication(config, channel, stop).run()


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `sync`."""
    parser = subparsers.add_parser(
        "sync", help="on the dialing site: one copy now, whichever way; answers with the watermark"
    )
    parser.add_argument(
        "--final", action="store_true", help="the last one of a handover: the giving site is fenced for it"
    )
    parser.add_argument("--token", default="", help="of the command whose handover it is")
    parser.set_defaults(run=sync)


def sync(config: KeeperConfig, arguments: argparse.Namespace, *, within_s: float = SYNC_S) -> dict[str, Any]:
    """Asks the daemon for a copy and waits for it."""
    if arguments.final and not arguments.token:
        raise KeeperError(
            "--final needs --token: the last copy of a handover is made for the command that fenced the giving site"
        )
    if not config.dials or config.peer is None:
        raise KeeperError(f"the {config.site} site does not dial the other one; ask the other site's keeper for a copy")
    number = secrets.token_hex(8)
    request = {"id": number, "token": arguments.token if arguments.final else ""}
    write_json(config.run_path / REQUEST, request, durable=False)
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        answer = read_json(config.run_path / ANSWER)
        if answer and answer["id"] == number:
            if "refused" in answer:
                raise KeeperError(str(answer["refused"]))
            return dict(answer["watermark"])
        time.sleep(LOOK_S)
    raise KeeperError(
        f"no copy was made within {within_s:.0f} s; look at the keeper's log on the {config.site} site (`docker logs keeper`)"
    )


def _peer_role(config: KeeperConfig) -> str:
    """What the peer said that it is; "" when it was not heard lately."""
    hello, ago_s = Beats(Store(config)).last()
    return str(hello["role"]) if hello and ago_s is not None and ago_s < PEER_HEARD_S else ""


def _key(config: KeeperConfig, channel: Channel, token: str) -> tuple[Any, ...]:
    """While this stays the same, the two ends know of each other what they knew."""
    state = Store(config).read()
    return (state.role, state.epoch, _peer_role(config), channel.connections, token)
