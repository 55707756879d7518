"""CPU-seconds and memory of student servers, hub and proxy while a class runs, read from the machines' own cgroups.

One small sampler per machine container (see `_sampler.py`) streams its readings through `docker exec`. All containers
of a machine share the kernel's monotonic clock with this process, so samples and steps of a visit line up.
"""

from __future__ import annotations

import contextlib
import json
import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.utils.socket import frames_iter

SAMPLE_EVERY_S = 1.0
SERVICES = ("hub", "proxy", "edge")
"""The plain containers of the hub VM whose memory is recorded."""


@dataclass
class Track:
    """The samples of one container: times are monotonic seconds, ascending."""

    machine: str
    name: str = ""
    user: str = ""
    times: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    def cpu_at(self, moment: float) -> float | None:
        """CPU-seconds used until `moment`, interpolated between the samples around it."""
        if not self.times or moment < self.times[0]:
            return None
        i = bisect_left(self.times, moment)
        if i == len(self.times):
            return self.cpu_s[-1]
        if i == 0 or self.times[i] == moment:
            return self.cpu_s[i]
        share = (moment - self.times[i - 1]) / (self.times[i] - self.times[i - 1])
        return self.cpu_s[i - 1] + share * (self.cpu_s[i] - self.cpu_s[i - 1])

    @property
    def service(self) -> str:
        """`hub`, `proxy`, `edge` or empty: the last word of the container's name says which."""
        last = self.name.replace("_", "-").rsplit("-", 1)[-1]
        return last if last in SERVICES else ""


class Meter:
    """`with Meter(machines, deadline_s) as meter:` samples in the background until the block ends."""

    def __init__(self, machines: Iterable[str], deadline_s: float) -> None:
        self._machines = tuple(machines)
        self._deadline_s = deadline_s
        self._tracks: dict[tuple[str, str], Track] = {}
        self._lock = threading.Lock()
        self._streams: list[Any] = []
        self._threads: list[threading.Thread] = []
        self.problems: list[str] = []

    def __enter__(self) -> Meter:
        if not self._machines:
            return self
        client = docker.from_env()
        script = Path(__file__).with_name("_sampler.py").read_text()
        for machine in self._machines:
            try:
                command = ["python3", "-u", "-c", script, str(SAMPLE_EVERY_S), str(self._deadline_s)]
                started = client.api.exec_create(machine, command, stdin=True)
                stream = client.api.exec_start(started["Id"], socket=True)
            except (APIError, NotFound) as problem:
                self.problems.append(f"{machine} cannot be measured: {problem}")
                continue
            thread = threading.Thread(target=self._read, args=(machine, stream), daemon=True, name=f"meter {machine}")
            self._streams.append(stream)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            # Shutting our end down closes the sampler's standard input, which ends it.
            inner = getattr(stream, "_sock", stream)
            with contextlib.suppress(OSError):
                inner.shutdown(2)
            stream.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _read(self, machine: str, stream: Any) -> None:
        pending = {1: b"", 2: b""}
        try:
            for number, data in frames_iter(stream, tty=False):
                *lines, pending[number] = (pending[number] + data).split(b"\n")
                for line in lines:
                    if number == 1:
                        self.take(machine, json.loads(line))
                    elif line.strip():
                        self.problems.append(f"sampler in {machine}: {line.decode(errors='replace')}")
        except (OSError, ValueError):
            pass  # the stream was closed from our side

    def take(self, machine: str, sample: dict[str, Any]) -> None:
        """Add one line of the sampler."""
        with self._lock:
            for container, (cpu_s, memory_mib) in sample["c"].items():
                track = self._tracks.setdefault((machine, container), Track(machine))
                track.times.append(float(sample["t"]))
                track.cpu_s.append(float(cpu_s))
                track.memory_mib.append(float(memory_mib))
            for container, about in sample["new"].items():
                track = self._tracks.setdefault((machine, container), Track(machine))
                track.name, track.user = about.get("name", ""), about.get("user", "")

    def student(self, user: str, moment: float | None) -> Track | None:
        """The container that served `user` at `moment` (the latest one when the moment is unknown)."""
        with self._lock:
            tracks = [t for t in self._tracks.values() if t.user == user and t.times]
        if moment is not None:
            tracks = [t for t in tracks if t.times[0] <= moment <= t.times[-1] + 5 * SAMPLE_EVERY_S]
        return max(tracks, key=lambda t: t.times[0], default=None)

    def services(self) -> dict[str, dict[str, float]]:
        """Memory before, at peak and at the end, and CPU-seconds used, of hub, proxy and edge."""
        with self._lock:
            tracks = [t for t in self._tracks.values() if t.service and t.times]
        return {
            t.service: {
                "before_mib": t.memory_mib[0],
                "peak_mib": max(t.memory_mib),
                "after_mib": t.memory_mib[-1],
                "cpu_s": round(t.cpu_s[-1] - t.cpu_s[0], 3),
            }
            for t in sorted(tracks, key=lambda t: (t.service, t.times[-1]))
        }
