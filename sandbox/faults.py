"""Faults on purpose: what a cloud does on a bad day, decided here once for every emulator.

`SEMESTERHUB_SANDBOX_FAULTS` holds a JSON list of rules. A rule names the calls it is for and when it strikes:

    [{"kind": "throttle", "call": "ec2:Create*", "nth": 3, "times": 2}]

`kind`: what happens, see `KINDS`. `call`: a pattern of the emulator's name for a call (`ec2:CreateVpc`,
`PUT Microsoft.Network/virtualNetworks`), default every changing call. `nth`: which of the calls that match is the first
one hit (default 1). `times`: how many in a row are hit (default 1; 0: all from then on). `reads`: for `lag`, how many
looks do not yet see what was made (default 2). `seconds`: for `timeout`, how long nobody answers (default 1).

An emulator asks a `Gate` at each call and puts the answer into its own cloud's words. The gate also keeps a list of the
changing calls of this run in `<state>/calls.jsonl`, from which `./hub load.faults` learns what there is to break.
"""

from __future__ import annotations

import fnmatch
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

VARIABLE = "SEMESTERHUB_SANDBOX_FAULTS"
CALLS = "calls.jsonl"

Kind = Literal["error", "throttle", "quota", "timeout", "lag"]
KINDS: dict[Kind, str] = {
    "error": "the call is refused for good, before it changes anything",
    "throttle": "too many requests: the call is refused, and may be repeated (AWS `Throttling`, ARM 429 with Retry-After)",
    "quota": "a limit of the account is reached: refused for good, in the cloud's own words",
    "timeout": "no answer: the connection ends after `seconds`, and nothing was changed",
    "lag": "eventual consistency: the call succeeds, but the next `reads` looks at what it made find nothing",
}


@dataclass(frozen=True)
class Rule:
    """One kind of fault, and when it strikes. See the module's text."""

    kind: Kind
    call: str = "*"
    nth: int = 1
    times: int = 1
    reads: int = 2
    seconds: float = 1.0

    def strikes(self, occurrence: int) -> bool:
        """Whether the occurrence (1 is the first) of a matching call is hit."""
        return occurrence >= self.nth and (self.times == 0 or occurrence < self.nth + self.times)


@dataclass(frozen=True)
class Fault:
    """What an emulator does instead of, or after, the call."""

    kind: Kind
    call: str
    occurrence: int
    reads: int
    seconds: float

    @property
    def message(self) -> str:
        """For the error's text: says that it is on purpose."""
        return f"injected fault '{self.kind}' at {self.call} (number {self.occurrence} of this run)"


def parse(text: str) -> tuple[Rule, ...]:
    """The rules of the variable's text. Raises ValueError, whose message says what is allowed."""
    if not text.strip():
        return ()
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE} is no JSON ({error}); write a list such as {_EXAMPLE}") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{VARIABLE} must be a list of objects such as {_EXAMPLE}")
    return tuple(_rule(item) for item in items)


_EXAMPLE = '[{"kind": "error", "call": "ec2:CreateSubnet", "nth": 2}]'
_TYPES: dict[str, tuple[type, ...]] = {
    "call": (str,),
    "nth": (int,),
    "times": (int,),
    "reads": (int,),
    "seconds": (int, float),
}


def _rule(item: dict[str, Any]) -> Rule:
    known = [field.name for field in fields(Rule)]
    for name, value in item.items():
        if name not in known:
            raise ValueError(f"{VARIABLE}: unknown key {name!r}; known are {', '.join(known)}")
        if name in _TYPES and (not isinstance(value, _TYPES[name]) or isinstance(value, bool)):
            raise ValueError(f"{VARIABLE}: {name} is {value!r}, which is no {_TYPES[name][-1].__name__}")
    if item.get("kind") not in get_args(Kind):
        raise ValueError(f"{VARIABLE}: kind is {item.get('kind')!r}; allowed are {', '.join(get_args(Kind))}")
    if item.get("nth", 1) < 1 or any(item.get(name, 1) < 0 for name in ("times", "reads", "seconds")):
        raise ValueError(f"{VARIABLE}: nth counts from 1, and times, reads and seconds are not negative: {item}")
    return Rule(**item)


class Gate:
    """One emulator's run: counts its changing calls, notes them, and says which ones go wrong. Threads may share it."""

    def __init__(self, state_dir: Path, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._seen: list[int] = [0] * len(rules)
        self._of_call: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._calls = state_dir / CALLS
        state_dir.mkdir(parents=True, exist_ok=True)
        self._calls.write_text("", "utf-8")

    @classmethod
    def from_environment(cls, state_dir: Path, environment: Mapping[str, str]) -> Gate:
        """As the variable says. Raises ValueError."""
        return cls(state_dir, parse(environment.get(VARIABLE, "")))

    def enter(self, call: str) -> Fault | None:
        """To be asked before each changing call, with its name; the fault that strikes it."""
        with self._lock:
            self._of_call[call] += 1
            struck: Rule | None = None
            for i, rule in enumerate(self._rules):
                if fnmatch.fnmatchcase(call, rule.call):
                    self._seen[i] += 1
                    if struck is None and rule.strikes(self._seen[i]):
                        struck = rule
            occurrence = self._of_call[call]
            note = {"call": call, "occurrence": occurrence, "fault": struck.kind if struck else None}
            with self._calls.open("a", encoding="utf-8") as out:
                out.write(json.dumps(note) + "\n")
        return Fault(struck.kind, call, occurrence, struck.reads, struck.seconds) if struck else None


def calls(state_dir: Path) -> list[dict[str, Any]]:
    """The changing calls of the last run, in order: `call`, `occurrence` (of the same call), `fault`."""
    path = state_dir / CALLS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
