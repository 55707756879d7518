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
from dataclasses import asdict
from typing import Any, Protocol

from . import lease as leases
from . import roles
from .config import KeeperConfig
from .doors import Doors
from .errors import KeeperError
from .lease import Answer, Talk
from .roles import SiteState
from .store import Store, read_json, write_json

LOOPS: tuple[str, ...] = ("backup", "replicate")
"""Modules of this package with `run(config, stop: threading.Event)`, each a thread of the daemon."""
PEER_FILE = "peer.json"
FIRST_ANSWER_S = 5.0
"""After the start the peer gets this long to answer before people are turned away."""
FIRST_LOOKS_EVERY_S = 0.2


class PeerChannel(Protocol):
    """The connection to the other site, as far as beats need it."""

    def exchange(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Sends this site's hello and returns the peer's. OSError or KeeperError when the peer does not answer in time."""
        ...


def say(text: str) -> None:
    """One line for the container's log."""
    print(f"keeper: {text}", file=sys.stderr, flush=True)


class Beats:
    """What one site says to the other and makes of what it hears (:class:`.lease.Talk`); the same on both sides."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._file = store.config.run_path / PEER_FILE

    def hello(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """This site's hello, to be sent now. ``more``: further keys, such as the revision."""
        number = secrets.token_hex(8)
        with self._store.locked() as own:
            state, said = own.state, self._read()
            talk = _talk(said).ask(number, self._store.boottime())
            self._write({**said, **asdict(talk)})
        mark = read_json(self._store.config.watermark_file)
        writable = roles.writable(state, lease_fresh=self._store.fresh(state))
        return {
            **roles.hello(state, writable=writable, watermark_epoch=int((mark or {}).get("epoch", 0))),
            "watermark": mark,
            "nonce": number,
            "echo": talk.echo,
            **(more or {}),
        }

    def hear(self, hello: Mapping[str, Any]) -> SiteState:
        """Takes in the peer's hello; the state that stands then. KeeperError when it is not one of the other site."""
        try:
            if hello["site"] == self._store.config.site:
                raise KeeperError(
                    f"the peer says that it is the {hello['site']} site too; check `site` in keeper.json on both"
                )
            with self._store.locked() as own:
                state = own.put(roles.hear(own.state, hello))
                talk = _talk(self._read()).heard(hello)
                self._write({**asdict(talk), "hello": dict(hello), "heard_s": self._store.boottime()})
        except (KeyError, TypeError, ValueError) as error:
            raise KeeperError(
                f"the peer's hello cannot be read ({error!r}); both sites must run the same revision"
            ) from None
        return state

    def serve(self, hello: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answering side of an exchange."""
        self.hear(hello)
        return self.hello(more)

    def answer(self) -> Answer | None:
        """The newest answer of the peer in this boot."""
        return _talk(self._read()).answer

    def last(self) -> tuple[dict[str, Any] | None, float | None]:
        """The peer's last hello in this boot and how many seconds ago it was heard."""
        said = self._read()
        if "hello" not in said:
            return None, None
        return said["hello"], max(0.0, self._store.boottime() - said["heard_s"])

    def _read(self) -> dict[str, Any]:
        said = read_json(self._file) or {}
        return said if said.get("boot") == self._store.boot else {}

    def _write(self, said: Mapping[str, Any]) -> None:
        write_json(self._file, {**said, "boot": self._store.boot}, durable=False)


def _talk(said: Mapping[str, Any]) -> Talk:
    answer = said.get("answer")
    asked = tuple((str(number), float(at_s)) for number, at_s in said.get("asked", []))
    return Talk(asked, said.get("echo", ""), Answer(answer["asked_s"], answer["hello"]) if answer else None)


def alone(config: KeeperConfig, state: SiteState) -> bool:
    """No peer is known to this site, so nobody else can have been promoted."""
    return not state.met and not state.claim and not config.host_key()


def renew(store: Store, answer: Answer | None) -> leases.Verdict:
    """One look at the lease: renewed, or let go."""
    with store.locked() as own:
        state, lease, verdict = leases.beat(
            own.state,
            store.lease(),
            boot=store.boot,
            now_s=store.boottime(),
            ttl_s=store.config.lease_ttl_s,
            answer=answer,
            alone=alone(store.config, own.state),
            lineage=secrets.token_hex(8),
        )
        own.put(state)
        if verdict.renew and lease is not None:
            own.grant(lease)
    return verdict


class Site:
    """One site's daemon, a beat at a time. Whatever goes wrong in a beat is told once and tried again in the next."""

    def __init__(self, config: KeeperConfig, *, store: Store | None = None, doors: Doors | None = None) -> None:
        self.config = config
        self.store = store or Store(config)
        self.doors = doors or Doors(config)
        self.beats = Beats(self.store)
        self.asked = threading.Event()
        """The peer has been asked at least once, or there is none to ask."""
        self._began_s = self.store.boottime()
        self._cleared = -1
        self._told: dict[str, str] = {}

    def ask(self, channel: PeerChannel) -> None:
        """One exchange with the peer."""
        try:
            if self.config.host_key():
                self.beats.hear(channel.exchange(self.beats.hello()))
                self._tell("peer", "")
        except (OSError, KeeperError) as error:
            self._tell("peer", f"the peer does not answer: {error}")
        self.asked.set()

    def look(self) -> None:
        """One look at the lease, and the doors as it says."""
        try:
            verdict = renew(self.store, self.beats.answer())
            self._tell("lease", verdict.why_not)
            # At a start nobody is turned away before the peer could be asked; the hub waits for the lease by itself.
            self.keep_doors(patient=not self.asked.is_set() and self.store.boottime() < self._began_s + FIRST_ANSWER_S)
            self._tell("doors", "")
        except (OSError, KeeperError) as error:
            self._tell("doors", str(error))

    def keep_doors(self, *, patient: bool = False) -> None:
        """Open where this site may write, shut where not; a fenced site also ends what its students run."""
        if not self.config.guards:
            return
        with self.store.locked() as own:
            state = own.state
            if roles.writable(state, lease_fresh=self.store.fresh(state)):
                self.doors.open()
                return
            if state.role == "active" and patient:
                return
            self.doors.shut(state)
        self.doors.end_hub()
        if state.role == "fenced" and self._cleared != state.epoch:
            self.doors.remove_servers()
            self._cleared = state.epoch

    def _tell(self, subject: str, text: str) -> None:
        if text and text != self._told.get(subject):
            say(text)
        self._told[subject] = text


def run(config: KeeperConfig, channel: PeerChannel | None = None) -> None:
    """The daemon; returns after SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    site = Site(config)
    for name in LOOPS:
        loop = importlib.import_module(f".{name}", __package__).run
        threading.Thread(target=_kept_running, args=(name, loop, config, stop), daemon=True, name=name).start()
    if channel is None or not config.dials:
        site.asked.set()
    else:
        # Apart from the lease: a peer that is slow to answer must not let it lapse.
        threading.Thread(target=_ask_on, args=(site, channel, stop), daemon=True, name="beat").start()
    while not stop.is_set():
        site.look()
        stop.wait(config.beat_every_s if site.asked.is_set() else FIRST_LOOKS_EVERY_S)


def _ask_on(site: Site, channel: PeerChannel, stop: threading.Event) -> None:
    while not stop.is_set():
        site.ask(channel)
        stop.wait(site.config.beat_every_s)


def _kept_running(name: str, loop: Callable[..., object], config: KeeperConfig, stop: threading.Event) -> None:
    """A loop that fails is begun again; the beat must never stop for it."""
    while not stop.is_set():
        try:
            loop(config, stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
            say(f"{name}: {error}" if isinstance(error, KeeperError) else f"{name}: {traceback.format_exc().strip()}")
        stop.wait(config.beat_every_s)
