"""Switching a site off from outside, and knowing that it is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from operations.errors import UserError

State = Literal["running", "changing", "off", "gone"]
"""`changing`: on its way up or down. `gone`: no such machine any more."""


class PowerError(UserError):
    """What keeps a site from being switched off or on: one sentence that says what to do."""


class NoMachineError(PowerError):
    """There is no machine of the stack, which proves nothing: one may have lost its tags."""


@dataclass(frozen=True)
class Proof:
    """That a site writes no more, by the word of whoever runs its machines, as the keeper of the other site notes it."""

    how: str
    detail: str


class Power(Protocol):
    """The switch of a stack's cloud site."""

    def stop(self) -> Proof:
        """Switch it off for good and read that it is off. May be repeated. Raises PowerError, and then it may still run."""
        ...

    def start(self) -> str:
        """Switch it on again, as it was; says what runs. Raises PowerError."""
        ...

    def state(self) -> State:
        """Of its hub VM. Raises PowerError."""
        ...

    def check(self) -> str:
        """ "" when it could be switched off from here, else one sentence that says why not. Changes nothing."""
        ...


class Site(Protocol):
    """What one kind of cloud can do, call by call. Every method may raise PowerError, and LaterError to be asked again."""

    @property
    def where(self) -> str:
        """The account and place, for messages."""
        ...

    def refuse_others(self) -> None:
        """Raise PowerError when this is not the stack's account."""
        ...

    def machines(self) -> Mapping[str, State]:
        """Its machines (first of all the hub VM) by id."""
        ...

    def doors(self) -> tuple[str, ...]:
        """Ways in that are still open: to the hub VM, and from any machine to the homes."""
        ...

    def ask_off(self, machines: Collection[str], *, force: bool) -> None:
        """Ask for it; `force`: without letting them end in order."""
        ...

    def ask_on(self, machines: Collection[str]) -> None: ...

    def shut(self) -> None:
        """Close the doors. May be repeated."""
        ...

    def open(self) -> None:
        """Open them as the stack's program made them. May be repeated."""
        ...

    def rehearse(self, machines: Collection[str]) -> None:
        """Raise PowerError when they could not be switched off by whoever is signed in, as far as the cloud tells."""
        ...
