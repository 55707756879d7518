"""The other site's :class:`.peer.Receiver` and :class:`.peer.Sender`, behind the channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .channel import Channel
from .errors import KeeperError
from .hub_state import Shipment
from .peer import result, unpacked
from .rejoin import Leftover, unpack
from .source import Batch, Result
from .watermark import Watermark

FLUSH_S = 300.0
SCAN_S = 300.0


class RemoteReceiver:
    """The standby, seen from the active site that dials."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def open(self, hello: Mapping[str, Any], token: str = "") -> None:
        """Asks whether it takes files."""
        self._channel.call("sink.open", {"hello": dict(hello), "token": token})

    def remove(self, paths: Sequence[bytes]) -> dict[str, str]:
        """Removes paths in homes there."""
        return dict(self._channel.call("sink.remove", data=b"\0".join(paths))[0]["not_removed"])

    def take(self, parcel: bytes) -> dict[str, str]:
        """Puts a parcel's files into their places there."""
        return dict(self._channel.call("sink.parcel", data=parcel)[0]["not_written"])

    def flush(self) -> None:
        """Returns when all homes that arrived are on its disk."""
        self._channel.call("sink.flush", timeout_s=FLUSH_S)

    def rejoined(self) -> None:
        """It holds everything, and stands by."""
        self._channel.call("sink.rejoined")

    def state(self, shipment: Shipment) -> None:
        """Hub state goes there."""
        self._channel.call("sink.state", {"header": shipment.header}, shipment.data)

    def publish(self, mark: Watermark) -> None:
        """Publishes there."""
        self._channel.call("sink.publish", {"watermark": asdict(mark)})


class RemoteSender:
    """The active site, seen from the standby that dials."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.epoch = 0

    def open(self) -> dict[str, Any]:
        """Who gives."""
        said, _ = self._channel.call("source.open")
        self.epoch = int(said["data_epoch"])
        return dict(said["hello"])

    @property
    def homes(self) -> RemoteSender:
        """The homes' side of a cycle: begin, arrived, large_ended, result."""
        return self

    @property
    def state(self) -> RemoteSender:
        """The hub's state: look."""
        return self

    def begin(self) -> Batch:
        """As :meth:`.source.HomesSource.begin`."""
        return unpacked(*self._channel.call("source.begin", timeout_s=SCAN_S))

    def arrived(self, failed: dict[str, str], vanished: Sequence[str]) -> Batch:
        """As :meth:`.source.HomesSource.arrived`."""
        said = {"not_copied": failed, "vanished": list(vanished)}
        return unpacked(*self._channel.call("source.arrived", said, timeout_s=SCAN_S))

    def parcel(self, paths: Sequence[bytes]) -> bytes:
        """As :meth:`.source.HomesSource.parcel`."""
        return self._channel.call("source.parcel", data=b"\0".join(paths))[1]

    def large_ended(self, arrived: bool) -> None:
        """As :meth:`.source.HomesSource.large_ended`."""
        self._channel.call("source.large", {"arrived": arrived})

    def result(self) -> Result:
        """As :meth:`.source.HomesSource.result`."""
        return result(self._channel.call("source.result")[0]["result"])

    def look(self, *, arrived: bool, again: bool = False) -> Shipment | float:
        """As :meth:`.hub_state.StateSource.look`."""
        said, data = self._channel.call("source.state", {"arrived": arrived, "again": again})
        return float(said["until"]) if "until" in said else Shipment(said["header"], data)

    def publish(self, mark: Watermark) -> None:
        """Publishes there."""
        self._channel.call("source.publish", {"watermark": asdict(mark)})

    def close(self) -> None:
        """Makes it forget; where it does not answer it forgets by itself."""
        try:
            self._channel.call("source.close", timeout_s=5)
        except (OSError, KeeperError):
            return


class RemoteStanding:
    """The active site, seen from the one that returned."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def prepare(self) -> None:
        """As :meth:`.rejoin.LocalStanding.prepare`; KeeperError when that site is not the active one."""
        self._channel.call("rejoin.open")

    def place(self, paths: Sequence[bytes]) -> None:
        """As :meth:`.rejoin.LocalStanding.place`."""
        self._channel.call("rejoin.place", data=b"\0".join(paths), timeout_s=SCAN_S)

    def digests(self, paths: Sequence[bytes]) -> list[str]:
        """As :meth:`.rejoin.LocalStanding.digests`."""
        if not paths:
            return []
        return list(self._channel.call("rejoin.digests", data=b"\0".join(paths), timeout_s=SCAN_S)[0]["digests"])


class RemoteReturned:
    """The site that returned, seen from the active one that dials."""

    def __init__(self, channel: Channel, fence_epoch: int) -> None:
        self._channel = channel
        self._epoch = {"epoch": fence_epoch}

    def leftovers(self) -> list[Leftover]:
        """As :meth:`.rejoin.LocalReturned.leftovers`."""
        said, paths = self._channel.call("rejoin.leftovers", self._epoch, timeout_s=SCAN_S)
        return unpack(said["leftovers"], paths)

    def put_aside(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """As :meth:`.rejoin.LocalReturned.put_aside`."""
        self._channel.call("rejoin.aside", self._epoch, b"\0".join(name for pair in pairs for name in pair))

    def done(self) -> None:
        """As :meth:`.rejoin.LocalReturned.done`."""
        self._channel.call("rejoin.done", self._epoch)
