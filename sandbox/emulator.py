"""The emulator of a cloud as a process: started for one command, on a port of its own, ended with it.

What it knows outlives it: it keeps its state under the folder it is given, so that the next command finds the cloud as
the last one left it. The parent's side is `EmulatorProcess`; the emulator's own side is `child()`.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from operations import leftovers
from operations.paths import ROOT, VENV_PYTHON
from operations.progress import note

STOP_PATIENCE_S = 20.0
IDLE_S = 5.0
"""An emulator whose parent was killed stays this long after the last request: the engine finishes its current steps."""


class Emulator(Protocol):
    """A cloud on this machine."""

    def start(self, state_dir: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Start it with what `state_dir` says of the last time; returns the endpoints by name (`aws`, `azure`, …), all
        on loopback. They take requests at once, and answer as soon as the state is loaded."""
        ...

    def problem(self) -> str:
        """Why it ended by itself; "" when it did not."""
        ...

    def stop(self) -> None:
        """End it; its state is on disk. Harmless when it is not running."""
        ...


class EmulatorProcess:
    """An emulator that is a Python module with the command line of `child()`. Its log is `<state_dir>/emulator.log`.

    The listening socket is made here and handed over, so the address is known before the emulator is: starting it
    costs nothing while Pulumi starts as well.
    """

    def __init__(self, name: str, module: str, mark: str) -> None:
        self.name = name
        self.module = module
        self.mark = mark
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, state_dir: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
        """See `Emulator`. One that an earlier command left is ended first; the caller holds the stack's lock."""
        leftovers.end(self.mark, note)
        state_dir.mkdir(parents=True, exist_ok=True)
        self.log = state_dir / "emulator.log"
        with socket.socket() as listener, self.log.open("wb") as log:
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            port = int(listener.getsockname()[1])
            self._process = subprocess.Popen(
                [
                    *(str(VENV_PYTHON), "-P", "-m", self.module, "--state", str(state_dir)),
                    *("--listen", str(listener.fileno()), "--parent", str(os.getpid())),
                ],
                cwd=ROOT,
                env={**environment, "PYTHONPATH": str(ROOT), leftovers.MARK: leftovers.mark(self.mark)},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the engine's affair; it needs the emulator to finish its steps
            )
        return {self.name: f"http://127.0.0.1:{port}"}

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def problem(self) -> str:
        """Why it ended by itself, in its own words; "" while it runs."""
        if self._process is None or self._process.poll() is None:
            return ""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return f"the offline {self.name} ended by itself: {lines[-1] if lines else 'without a word'} ({self.log})"

    def stop(self) -> None:
        """See `Emulator`."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Child:
    """The emulator's side: where its state is, its socket, and when to end."""

    state_dir: Path
    listener: socket.socket
    last_request_s: float = 0.0
    parent: int = 0
    """The command that started it."""

    def touch(self) -> None:
        """Call it at each request."""
        self.last_request_s = time.monotonic()

    def end_with_parent(self, end: Callable[[], None]) -> None:
        """Call `end` (from a thread) on SIGTERM, or when the parent is gone and nobody asks any more."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                if os.getppid() != self.parent and time.monotonic() - self.last_request_s > IDLE_S:
                    break
            end()

        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=watch, daemon=True, name="watch").start()


def child(description: str) -> Child:
    """Read the command line that `EmulatorProcess` gives."""
    gc.disable()  # as in __main__.py: it lives as long as one command, and moto is a million objects to look through
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps what the cloud knows")
    parser.add_argument("--listen", type=int, required=True, help="number of the inherited listening socket")
    # Not asked for here: the command may be gone before this process has come this far.
    parser.add_argument("--parent", type=int, required=True, help="the process that started this one")
    options = parser.parse_args()
    try:
        listener = socket.socket(fileno=options.listen)
        listener.getsockname()
    except OSError:
        sys.exit(f"--listen {options.listen} is no socket; emulators are started by `./hub … --sandbox`")
    return Child(options.state, listener, time.monotonic(), options.parent)
