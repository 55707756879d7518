"""The keeper's daemon: one thread that beats, and one for each loop of the other modules.

Every beat the dialing site sends its hello to the other one and gets that one's hello back; both sides do the same with
what they hear. Then the lease is renewed or not (:func:`.lease.judge`).
"""

from __future__ import annotations

import importlib
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from . import lease as leases
from . import roles
from .config import KeeperConfig
from .errors import KeeperError
from .lease import Answer
from .roles import SiteState
from .store import Store, read_json, write_json

LOOPS: tuple[str, ...] = ("backup",)
"""Modules of this package with `run(config, stop: threading.Event)`, each a thread of the daemon."""
PEER_FILE = "peer.json"


class PeerChannel(Protocol):
    """The connection to the other site, as far as beats need it."""

    def exchange(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Sends this site's hello and returns the peer's. OSError or KeeperError when the peer does not answer in time."""
        ...


def say(text: str) -> None:
    """One line for the container's log."""
    print(f"keeper: {text}", file=sys.stderr, flush=True)


class Beats:
    """What one site says to the other and makes of what it hears; the same on both sides.

    A hello carries a number that was never used before, and the newest one heard. Only a hello that brings back a number of
    this boot counts as an answer: it cannot be an old one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._file = store.config.run_path / PEER_FILE

    def hello(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """This site's hello, to be sent now. ``more``: further keys, such as the revision."""
        state = self._store.read()
        said = self._read()
        nonce, asked_s = secrets.token_hex(8), self._store.boottime()
        asked = [*said.get("asked", []), [nonce, asked_s]][-8:]
        self._write({**said, "asked": asked})
        return {
            **roles.hello(state, writable=roles.writable(state, lease_fresh=self._store.fresh(state))),
            "watermark": read_json(self._store.config.watermark_file),
            "nonce": nonce,
            "echo": said.get("heard_nonce", ""),
            **(more or {}),
        }

    def hear(self, hello: Mapping[str, Any]) -> SiteState:
        """Takes in the peer's hello; the state that stands then. KeeperError when it is not one of the other site."""
        try:
            if hello["site"] == self._store.config.site:
                raise KeeperError(
                    f"the peer says that it is the {hello['site']} site too; check `site` in keeper.json on both"
                )
            state = self._store.change(lambda present: roles.hear(present, hello))
        except (KeyError, TypeError, ValueError) as error:
            raise KeeperError(
                f"the peer's hello cannot be read ({error!r}); both sites must run the same revision"
            ) from None
        said = self._read()
        asked_s = dict(said.get("asked", [])).get(hello.get("echo", ""))
        said |= {"heard_nonce": hello.get("nonce", ""), "hello": dict(hello), "heard_s": self._store.boottime()}
        if asked_s is not None:
            said |= {"answer": dict(hello), "asked_s": max(asked_s, said.get("asked_s", 0))}
        self._write(said)
        return state

    def serve(self, hello: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answering side of an exchange."""
        self.hear(hello)
        return self.hello(more)

    def answer(self) -> Answer | None:
        """The newest answer of the peer in this boot."""
        said = self._read()
        return Answer(said["asked_s"], said["answer"]) if "answer" in said else None

    def last(self) -> tuple[dict[str, Any] | None, float | None]:
        """The peer's last hello and how many seconds ago it was heard."""
        said = self._read()
        if "hello" not in said:
            return None, None
        return said["hello"], max(0.0, self._store.boottime() - said["heard_s"])

    def _read(self) -> dict[str, Any]:
        said = read_json(self._file) or {}
        return said if said.get("boot") == self._store.boot else {}

    def _write(self, said: Mapping[str, Any]) -> None:
        write_json(self._file, {**said, "boot": self._store.boot}, durable=False)


def alone(config: KeeperConfig, state: SiteState) -> bool:
    """No peer is known to this site, so nobody else can have been promoted."""
    return not state.met and not state.claim and not config.host_key()


def renew(store: Store, answer: Answer | None) -> leases.Verdict:
    """One look at the lease: renewed, or let go."""
    config = store.config
    with store.locked() as own:
        state, now_s = own.state, store.boottime()
        fresh = store.fresh(state)
        verdict = leases.judge(
            state,
            fresh=fresh,
            answer=answer,
            alone=alone(config, state),
            now_s=now_s,
            ttl_s=config.lease_ttl_s,
        )
        if verdict.renew:
            own.put(roles.resume(state))
            own.grant(verdict.until_s)
        elif not fresh:
            own.put(roles.lapse(state))
    return verdict


def run(config: KeeperConfig, open_channel: Callable[[KeeperConfig], PeerChannel] | None = None) -> None:
    """The daemon; returns after SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    store = Store(config)
    channel = open_channel(config) if open_channel and config.dials else None
    for name in LOOPS:
        loop = importlib.import_module(f".{name}", __package__).run
        threading.Thread(target=_kept_running, args=(name, loop, config, stop), daemon=True, name=name).start()
    beats = Beats(store)
    told = ""
    while not stop.is_set():
        if channel is not None and config.host_key():
            try:
                beats.hear(channel.exchange(beats.hello()))
            except (OSError, KeeperError) as error:
                told = _once(told, str(error))
        try:
            verdict = renew(store, beats.answer())
            told = _once(told, verdict.why_not) if verdict.why_not else told
        except (OSError, KeeperError) as error:
            told = _once(told, str(error))
        stop.wait(config.beat_every_s)


def _once(told: str, text: str) -> str:
    if text != told:
        say(text)
    return text


def _kept_running(name: str, loop: Callable[..., object], config: KeeperConfig, stop: threading.Event) -> None:
    """A loop that fails is begun again; the beat must never stop for it."""
    while not stop.is_set():
        try:
            loop(config, stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
            say(f"{name}: {error}" if isinstance(error, KeeperError) else f"{name}: {traceback.format_exc().strip()}")
        stop.wait(config.beat_every_s)
