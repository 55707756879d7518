"""What a provider's author writes: one `Handler` a resource type, gathered in a `Provider`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from providers.base.errors import Cancelled, CheckFailure
from providers.base.schema import Change, Schema, differences
from providers.base.values import UNKNOWN


class Log(Protocol):
    """Messages to the person watching `pulumi up`."""

    def send(self, severity: str, message: str, urn: str, ephemeral: bool) -> None:
        """`severity`: debug, info, warning, error. `ephemeral`: a status beside the resource, gone with the next."""
        ...


@dataclass
class Context:
    """What one call knows besides its values."""

    urn: str
    log: Log
    preview: bool = False
    timeout_s: float = 0.0
    """The resource's custom timeout; 0 where none was set."""
    cancel: threading.Event = field(default_factory=threading.Event)
    random_seed: bytes = b""
    """In `check`: what a generated name is derived from. The same for each check of one run's resource, so that the
    preview's name and the update's agree."""

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rpartition("::")[2]

    def status(self, message: str) -> None:
        """Progress: shown beside the resource until the next one."""
        self.log.send("info", message, self.urn, True)

    def info(self, message: str) -> None:
        """A line that stays."""
        self.log.send("info", message, self.urn, False)

    def warn(self, message: str) -> None:
        """A warning that stays, and is repeated in the summary."""
        self.log.send("warning", message, self.urn, False)

    def check_cancelled(self) -> None:
        """Raise `Cancelled` once the engine asked to stop. Call it in every loop."""
        if self.cancel.is_set():
            raise Cancelled

    def sleep(self, duration_s: float) -> None:
        """Wait, but not longer than until the engine asks to stop."""
        if self.cancel.wait(duration_s):
            raise Cancelled

    def deadline(self, default_s: float) -> float:
        """Monotonic time at which to give up: the resource's custom timeout, else `default_s` from now."""
        return time.monotonic() + (self.timeout_s or default_s)


@dataclass(frozen=True)
class Created:
    """A resource that was made: its id, and its outputs besides the inputs."""

    id: str
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What a look at the real resource showed.

    `outputs` besides the inputs; `inputs` where they differ from the recorded ones (drift), merged into them.
    `unhealthy`: reasons why it needs an update although no input changed.
    """

    outputs: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    unhealthy: tuple[str, ...] = ()
    id: str = ""


class Handler:
    """One resource type. Methods get plain values: all known, except in `check` and with `ctx.preview`.

    `create` of something that is already there adopts it (a killed run made it), or refuses it if it is someone else's.
    """

    token: ClassVar[str]
    schema: ClassVar[Schema]
    outputs: ClassVar[tuple[str, ...]] = ()
    """Outputs besides the inputs: unknown in the preview of a creation."""
    secret_outputs: ClassVar[frozenset[str]] = frozenset()
    stable_outputs: ClassVar[frozenset[str]] = frozenset()
    """Outputs that an update in place keeps; the others are unknown in its preview."""
    delete_before_replace: ClassVar[bool] = False

    def check(
        self, ctx: Context, olds: Mapping[str, Any], news: Mapping[str, Any], hidden: frozenset[str]
    ) -> tuple[dict[str, Any], list[CheckFailure]]:
        """Inputs with defaults, and what is wrong with them. `hidden` are the names of secret inputs."""
        del ctx, olds
        return self.schema.check(news, hidden)

    def diff(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> list[Change]:
        """What changed. By default new inputs against old inputs."""
        del ctx, id, old_state
        return differences(old_inputs, news, self.schema)

    def deletes_first(self, old_inputs: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Whether a replacement deletes the old one before it makes the new one: where both cannot exist at once."""
        del old_inputs, news
        return self.delete_before_replace

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        """Make it, or adopt what a killed run made."""
        raise NotImplementedError

    def preview_create(self, ctx: Context, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs as far as a preview can tell."""
        del ctx, inputs
        return dict.fromkeys(self.outputs, UNKNOWN)

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        """Look at the real thing; None when it is gone. Must not echo what the state says."""
        raise NotImplementedError

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """Bring it to `news` in place; returns the outputs besides the inputs."""
        raise NotImplementedError

    def preview_update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """The outputs as far as a preview can tell."""
        del ctx, id, old_inputs, news
        return {name: old_state.get(name, UNKNOWN) if name in self.stable_outputs else UNKNOWN for name in self.outputs}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Remove it. What is already gone is fine."""
        raise NotImplementedError


class Function:
    """One function of the provider (a program's `get_...` call). Arguments are known: the engine waits for them."""

    token: ClassVar[str]
    schema: ClassVar[Schema]
    secret_results: ClassVar[frozenset[str]] = frozenset()

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The results."""
        raise NotImplementedError


@dataclass(frozen=True)
class Provider:
    """A plugin: its package name, its version, its resource types and functions."""

    name: str
    version: str
    handlers: tuple[Handler, ...]
    functions: tuple[Function, ...] = ()

    def handler(self, token: str) -> Handler | None:
        """The handler of a type token."""
        return next((h for h in self.handlers if h.token == token), None)

    def function(self, token: str) -> Function | None:
        """The function of a token."""
        return next((f for f in self.functions if f.token == token), None)

    def check_config(self, ctx: Context, news: Mapping[str, Any]) -> list[CheckFailure]:
        """What is wrong with the provider's own configuration. By default it takes none."""
        del ctx
        known = {"version", "pluginDownloadURL", "pluginDownloadUrl"}
        return [
            CheckFailure(name, f"the provider `{self.name}` takes no configuration, but `{name}` was given; remove it.")
            for name in news
            if name not in known and not name.startswith("__")
        ]

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take the checked configuration."""
        del config

    def mark(self) -> Mapping[str, Any]:
        """What is added to the provider's own record in the state."""
        return {}
