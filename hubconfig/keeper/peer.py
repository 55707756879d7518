"""What each site does for a copy, whoever dials: the standby takes (:class:`Receiver`), the active one gives (:class:`Sender`).

On the site that is dialed both answer over the channel (`peer`, the forced command of the dialing site's key). rsync comes in
beside it (`peer-rsync`): only into the homes' folder, only with the options that :mod:`.homes` uses, and only while this site
takes, or gives.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from . import homes, hub_state, parcels, rejoin, roles, watermark
from .channel import Handler, serve
from .config import KeeperConfig
from .errors import KeeperError
from .hub_state import Shipment, StateSource
from .keeper import Beats
from .paths import INCOMING
from .source import Batch, HomesSource, Result
from .store import RECEIVERS, Store, read_json, write_json
from .watermark import Watermark

PERMIT = "receiving.json"
LONG_OPTIONS = frozenset(word.split("=")[0] for word in homes.OPTIONS) | {
    "--server", "--sender", "--ignore-times", "--ignore-missing-args", "--force", "--recursive", "--delete-delay", "--max-size",
    "--checksum", "--partial-dir", "--no-whole-file", "--stats", "--log-format", "--no-relative",
    "--modify-window", "--timeout", "--files-from", "--from0", "--numeric-ids", "--exclude", "--specials", "--devices",
}  # fmt: skip
"""What the dialing site's rsync may ask of this one."""
LETTERS = re.compile(r"-[A-Za-z0-9]+(\.[0-9]*)?(e[0-9.]*[A-Za-z.]*)?")


class Receiver:
    """The standby's side."""

    def __init__(self, config: KeeperConfig) -> None:
        self._config = config
        self._store = Store(config)
        self._from: dict[str, Any] = {}

    @property
    def guard(self) -> Incoming:
        """For the copies that come in here."""
        return Incoming(self._config, lambda: self._from)

    def open(self, hello: Mapping[str, Any], token: str = "") -> None:
        """Files are about to come from the site of that hello. KeeperError when this one does not take them."""
        self._from = {"hello": dict(hello), "token": token}
        self._check()
        if read_json(self._config.run_path / PERMIT) != self._from:
            write_json(self._config.run_path / PERMIT, self._from, durable=False)

    def open_rejoin(self) -> None:
        """Files are about to come from a site that returned; this one is the active one, and they come beside its homes."""
        if (state := self._store.read()).role != "active":
            raise KeeperError(
                f"the {state.site} site is {state.role}; a site that returns brings its files to the active one"
            )
        write_json(self._config.run_path / PERMIT, {"rejoin": True}, durable=False)

    def rejoined(self) -> None:
        """Everything of the active site is here: from fenced to standby."""
        self._check()
        self._store.change(roles.rejoined)

    def remove(self, paths: Sequence[bytes]) -> dict[str, str]:
        """Removes paths in homes."""
        with self.guard.held():
            self._check()
            return homes.remove(self._config.homes_path, paths)

    def take(self, parcel: bytes) -> dict[str, str]:
        """Puts a parcel's files into their places."""
        with self.guard.held():
            self._check()
            return parcels.unpack(self._config.homes_path, parcel)

    def flush(self) -> None:
        """Returns when all homes that arrived are on the disk."""
        self._check()
        sync_disk(self._config)

    def state(self, shipment: Shipment) -> None:
        """Takes hub state."""
        self._check()
        changed = hub_state.receive(self._config, shipment.header, shipment.data)
        if any(name.startswith("edge/") for name in changed):
            _restart_edge(self._config)

    def publish(self, mark: Watermark) -> None:
        """Takes the watermark."""
        self._check()
        watermark.publish(self._config, mark)

    def _check(self) -> None:
        if why := refusal(self._config, self._from):
            raise KeeperError(f"no files are taken here: {why}")


def refusal(config: KeeperConfig, permit: Mapping[str, Any]) -> str:
    """Why this site takes no files now from whom it agreed with; "" when it does."""
    state, hello = Store(config).read(), permit.get("hello")
    if hello is None:
        return "nobody has asked for it"
    mark = watermark.load(config)
    token = str(permit.get("token", ""))
    if why := roles.refuses_push(state, hello, token=token, watermark_epoch=mark.epoch if mark else 0):
        return why
    if state.role == "fenced" and hello["role"] == "active" and not rejoin.rejoined(config, state.epoch):
        return f"the {state.site} site may hold files that nobody else has; they are brought to the active site first"
    return ""


class Incoming:
    """Guards a copy into this site's homes (:class:`.homes.Guard`)."""

    def __init__(self, config: KeeperConfig, permit: Callable[[], Mapping[str, Any]]) -> None:
        self._config, self._permit = config, permit

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it is held, :func:`.store.wait_for_receivers` waits."""
        with (self._config.run_path / RECEIVERS).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def refusal(self) -> str:
        """Why the copy must end."""
        return refusal(self._config, self._permit())


class Sender:
    """The active site's side, or that of a site that was fenced a moment ago and gives its last files."""

    def __init__(self, config: KeeperConfig) -> None:
        self._config = config
        self._store = Store(config)
        self._lock = threading.Lock()
        self._state: StateSource | None = None
        self._homes: HomesSource | None = None
        self.epoch = 0
        """In which these files were written."""

    def open(self) -> dict[str, Any]:
        """Who gives (:func:`.roles.hello`). KeeperError when this site has nothing to give."""
        state, mark = self._store.read(), watermark.load(self._config)
        if state.role not in ("active", "fenced"):
            raise KeeperError(f"the {state.site} site has no files to give: it is {state.role} (epoch {state.epoch})")
        with self._lock:
            if self.epoch != state.data_epoch:
                self._forget()
            self.epoch = state.data_epoch
        return roles.hello(state, writable=self._store.fresh(state), watermark_epoch=mark.epoch if mark else 0)

    @property
    def homes(self) -> HomesSource:
        """The homes' side of a cycle."""
        with self._lock:
            if self._homes is None:
                self._homes = HomesSource(self._config, self.epoch)
            return self._homes

    @property
    def state(self) -> StateSource:
        """The hub's state."""
        with self._lock:
            if self._state is None:
                self._state = StateSource(self._config)
            return self._state

    def publish(self, mark: Watermark) -> None:
        """Notes what the other site holds."""
        watermark.publish(self._config, mark)

    def close(self) -> None:
        """Forgets what it knows of homes; the next cycle compares again what is not surely known."""
        with self._lock:
            self._homes = None

    def _forget(self) -> None:
        if self._state is not None:
            self._state.close()
        self._homes = self._state = None


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `peer` and `peer-rsync`."""
    subparsers.add_parser("peer", help="answers the other site, over stdin and stdout").set_defaults(run=answer_peer)
    rsync = subparsers.add_parser("peer-rsync", help="the other site's rsync, over stdin and stdout")
    rsync.add_argument("original", help="the command that the other site asked SSH for")
    rsync.set_defaults(run=answer_rsync)


def answer_peer(config: KeeperConfig, _: argparse.Namespace) -> None:
    """Until the other site hangs up."""
    serve(sys.stdin.buffer, sys.stdout.buffer, handlers(config), idle=lambda: os._exit(0))


def handlers(config: KeeperConfig) -> dict[str, Handler]:
    """What can be asked over the channel (:mod:`.remote` asks it)."""
    receiver, sender, beats = Receiver(config), Sender(config), Beats(Store(config))

    def hello(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        return {"hello": beats.serve(body["hello"])}, b""

    def sink_open(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.open(body["hello"], str(body["token"]))
        return {}, b""

    def sink_remove(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        return {"not_removed": receiver.remove(data.split(b"\0"))}, b""

    def sink_parcel(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        return {"not_written": receiver.take(data)}, b""

    def source_parcel(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        return {}, sender.homes.parcel(data.split(b"\0"))

    def sink_flush(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.flush()
        return {}, b""

    def sink_state(body: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.state(Shipment(body["header"], data))
        return {}, b""

    def sink_publish(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.publish(watermark.from_json(body["watermark"]))
        return {}, b""

    def source_open(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        return {"hello": sender.open(), "data_epoch": sender.epoch}, b""

    def source_begin(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        return packed(sender.homes.begin())

    def source_arrived(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        return packed(sender.homes.arrived(dict(body["not_copied"]), list(body["vanished"])))

    def source_large(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        sender.homes.large_ended(bool(body["arrived"]))
        return {}, b""

    def source_result(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        return {"result": asdict(sender.homes.result())}, b""

    def source_state(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        found = sender.state.look(arrived=bool(body["arrived"]), again=bool(body["again"]))
        return ({"header": found.header}, found.data) if isinstance(found, Shipment) else ({"until": found}, b"")

    def source_publish(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        sender.publish(watermark.from_json(body["watermark"]))
        return {}, b""

    def sink_rejoined(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.rejoined()
        return {}, b""

    def rejoin_open(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.open_rejoin()
        rejoin.LocalStanding(config.homes_path).prepare()
        return {}, b""

    def rejoin_place(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        receiver.open_rejoin()
        rejoin.LocalStanding(config.homes_path).place(data.split(b"\0"))
        return {}, b""

    def rejoin_digests(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        return {"digests": rejoin.LocalStanding(config.homes_path).digests(data.split(b"\0"))}, b""

    def rejoin_state(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        state = Store(config).read()
        done = state.role != "fenced" or rejoin.rejoined(config, state.epoch)
        return {"done": done, "role": state.role, "epoch": state.epoch, "data_epoch": state.data_epoch}, b""

    def rejoin_leftovers(body: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        listed, paths = rejoin.pack(rejoin.LocalReturned(config, int(body["epoch"])).leftovers())
        return {"leftovers": listed}, paths

    def rejoin_aside(body: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        names = data.split(b"\0") if data else []
        rejoin.LocalReturned(config, int(body["epoch"])).put_aside(list(zip(names[::2], names[1::2], strict=True)))
        return {}, b""

    def rejoin_done(body: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        rejoin.LocalReturned(config, int(body["epoch"])).done()
        return {}, b""

    def source_close(_: dict[str, Any], __: bytes) -> tuple[dict[str, Any], bytes]:
        sender.close()
        return {}, b""

    return {
        "hello": hello,
        "sink.open": sink_open,
        "sink.remove": sink_remove,
        "sink.flush": sink_flush,
        "sink.parcel": sink_parcel,
        "source.parcel": source_parcel,
        "sink.state": sink_state,
        "sink.publish": sink_publish,
        "source.open": source_open,
        "source.begin": source_begin,
        "source.arrived": source_arrived,
        "source.large": source_large,
        "source.result": source_result,
        "source.state": source_state,
        "source.publish": source_publish,
        "source.close": source_close,
        "sink.rejoined": sink_rejoined,
        "rejoin.open": rejoin_open,
        "rejoin.place": rejoin_place,
        "rejoin.digests": rejoin_digests,
        "rejoin.state": rejoin_state,
        "rejoin.leftovers": rejoin_leftovers,
        "rejoin.aside": rejoin_aside,
        "rejoin.done": rejoin_done,
    }


def packed(batch: Batch) -> tuple[dict[str, Any], bytes]:
    """A batch as it travels: names are bytes, which JSON has not."""
    lists = (batch.first, batch.first_larger, batch.small, batch.larger, batch.removed, batch.large)
    body = {
        "counts": [len(paths) for paths in lists],
        "whole": batch.whole,
        "by_content": batch.by_content,
        "large_known": batch.large_known,
        "last": batch.last,
    }
    return body, b"\0".join(path for paths in lists for path in paths)


def unpacked(body: Mapping[str, Any], data: bytes) -> Batch:
    """The batch that was packed."""
    paths = data.split(b"\0")
    lists: list[tuple[bytes, ...]] = []
    for count in body["counts"]:
        lists.append(tuple(paths[:count]))
        paths = paths[count:]
    return Batch(
        first=lists[0],
        first_larger=lists[1],
        small=lists[2],
        larger=lists[3],
        removed=lists[4],
        large=lists[5],
        whole=tuple(body["whole"]),
        by_content=tuple(body["by_content"]),
        large_known=bool(body["large_known"]),
        last=bool(body["last"]),
    )


def result(raw: Mapping[str, Any]) -> Result:
    """From the wire."""
    return Result(**raw)


def answer_rsync(config: KeeperConfig, arguments: argparse.Namespace) -> None:
    """Becomes the parent of the other site's rsync, and ends it when this site may not take (or give) any more."""
    words = checked(config, arguments.original)
    sending = "--sender" in words
    store = Store(config)

    def permit() -> dict[str, Any]:
        return read_json(config.run_path / PERMIT) or {}

    incoming = Incoming(config, permit)

    def refused() -> str:
        state = store.read()
        if sending:
            return "" if state.role in ("active", "fenced") else f"the {state.site} site is {state.role}"
        if words[-1] == _top(config, INCOMING):
            fine = state.role == "active" and permit().get("rejoin")
            return "" if fine else "no site that returns has asked to bring files"
        return incoming.refusal()

    with incoming.held():
        if why := refused():
            raise KeeperError(f"no files are {'given' if sending else 'taken'} here: {why}")
        process = subprocess.Popen(words)
        try:
            while process.poll() is None:
                if why := refused():
                    raise KeeperError(f"the copy ends: {why}")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(homes.LOOK_EVERY_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    raise SystemExit(process.returncode)


def checked(config: KeeperConfig, original: str) -> list[str]:
    """The rsync server command, if it is one that :mod:`.homes` asks for. KeeperError for any other."""
    try:
        words = shlex.split(original)
    except ValueError:
        words = []
    tops = (_top(config), _top(config, INCOMING))
    if words[:2] != ["rsync", "--server"] or words[-2:-1] != ["."] or words[-1] not in tops:
        raise KeeperError(f"refused: {original[:200]!r} is no copy of homes to or from {tops[0]}")
    for word in words[2:-2]:
        fine = word.split("=")[0] in LONG_OPTIONS if word.startswith("--") else bool(LETTERS.fullmatch(word))
        if word.startswith("--files-from") and word != "--files-from=-":
            fine = False
        if word.startswith("--partial-dir") and word != f"--partial-dir={homes.PARTIAL_DIR}":
            fine = word == "--partial-dir"
        if not fine and word not in (homes.PARTIAL_DIR, "-", "-@-1"):  # the last one is --modify-window=-1
            raise KeeperError(f"refused: rsync is not run with {word[:80]!r} here")
    return words


def _top(config: KeeperConfig, below: str = "") -> str:
    """The homes' folder, or one in it, as rsync is told."""
    return "/".join(part for part in (str(config.homes_path).rstrip("/"), below) if part) + "/"


def sync_disk(config: KeeperConfig) -> None:
    """syncfs(2): whatever has been written to the homes' file system is on its disk."""
    descriptor = os.open(config.homes_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise KeeperError(f"homes cannot be written to the disk of this site: {os.strerror(code)}")
    finally:
        os.close(descriptor)


def _restart_edge(config: KeeperConfig) -> None:
    """The edge reads its authority when it starts. On a standby it shows nothing but the page that says where to go."""
    from .engine import Engine

    if config.guards:
        with suppress(KeeperError):
            Engine().restart("edge")
