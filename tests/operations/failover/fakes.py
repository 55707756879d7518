"""Two sites without machines: what their keepers answer, and an alarm when both are writable at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from operations.errors import UserError
from operations.failover.moves import Surroundings
from operations.failover.sites import RefusedError, Site, Sites, UnreachableError


def healthy(role: str, epoch: int) -> dict[str, Any]:
    return {
        "role": role,
        "epoch": epoch,
        "seen_epoch": epoch,
        "claim": None,
        "claim_holds": False,
        "proof_holds": False,
        "disk": {"homes_free_bytes": 50 * 2**30, "homes_used_bytes": 2**30, "users": 3},
        "release": "abc",
        "missing_images": [],
        "certificate_not_after": time.time() + 90 * 86400,
        "watermark": {"epoch": epoch, "seq": 7, "homes_until": time.time() - 5, "hub_state_until": time.time() - 1},
    }


@dataclass(frozen=True)
class FakeSite(Site):
    """A site whose keeper is this object."""

    world: World = field(kw_only=True, repr=False)

    @property
    def state(self) -> dict[str, Any]:
        return self.world.states[self.name]

    def status(self, timeout_s: float = 15) -> dict[str, Any]:
        return dict(self.keeper("status"))

    def secret(self, name: str) -> str:
        self.world.reach(self.name)
        return f"{name} of {self.name}"

    def keeper(self, *arguments: str, stdin: str = "", timeout_s: float = 45) -> dict[str, Any]:
        self.world.reach(self.name)
        command = arguments[0]
        flags = [a for a in arguments[1:] if a in ("--take-over", "--older-files", "--final")]
        rest = [a for a in arguments[1:] if a not in flags]
        options = {**dict(zip(rest[::2], rest[1::2], strict=True)), **dict.fromkeys(flags, "")}
        self.world.asked.append((self.name, command))
        act = getattr(self, f"_{command.replace('-', '_')}", None)
        answer = act(options) if act else dict(self.state)
        self.world.look()
        return answer

    def _claim(self, options: dict[str, str]) -> dict[str, Any]:
        held = self.state["claim"]
        if held and held["token"] != options["--token"] and "--take-over" not in options:
            raise RefusedError(
                f"the {self.name} site refuses: another {held['kind']} is in progress on the {self.name} site: by {held['by']}"
            )
        if int(options["--epoch"]) <= self.state["seen_epoch"]:
            raise RefusedError(f"the {self.name} site refuses: the epoch is old")
        self.state["claim"] = {
            "token": options["--token"], "by": options["--by"], "kind": options["--kind"], "epoch": int(options["--epoch"]),
            "at": time.time(),
        }  # fmt: skip
        self.state.update(claim_holds=True, proof_holds=False, proof=None, seen_epoch=int(options["--epoch"]))
        return {}

    def _fence(self, options: dict[str, str]) -> dict[str, Any]:
        self.state.update(role="fenced", epoch=int(options["--epoch"]), seen_epoch=int(options["--epoch"]))
        return {"servers_stopped": 2}

    def _proof(self, options: dict[str, str]) -> dict[str, Any]:
        self.state.update(proof=options["--how"], proof_holds=True)
        return {}

    def _sync(self, options: dict[str, str]) -> dict[str, Any]:
        if self.world.sync_fails_times > 0:
            self.world.sync_fails_times -= 1
            raise RefusedError("the cloud site refuses: it did not arrive as it was sent; all of it is sent again")
        if self.world.sync_fails:
            raise RefusedError("the cloud site refuses: the disk is full")
        return {"epoch": 2, "homes_until": time.time(), "hub_state_until": time.time()}

    def _promote(self, options: dict[str, str]) -> dict[str, Any]:
        claim = self.state["claim"]
        if self.state["role"] == "active" and claim and self.state["epoch"] == claim["epoch"]:
            return {"role": "active"}
        if not claim or claim["token"] != options["--token"]:
            raise RefusedError(
                f"the {self.name} site refuses: this command has no claim on the {self.name} site for epoch 2"
            )
        if not self.state["proof_holds"]:
            raise RefusedError(f"the {self.name} site refuses: no proof, or one of before its restart")
        if self.world.older_files and "--older-files" not in options:
            raise RefusedError(f"the {self.name} site refuses: let it catch up, or say --older-files to go on without")
        self.state.update(role="active", epoch=claim["epoch"], seen_epoch=claim["epoch"], proof=None)
        return {"role": "active"}

    def _release(self, options: dict[str, str]) -> dict[str, Any]:
        self.state.update(claim=None, claim_holds=False)
        return {}

    def restart(self) -> None:
        """The machine was off for a moment: what a command saw before does not hold any more."""
        self.state.update(claim_holds=False, proof_holds=False)


@dataclass
class World:
    """Both sites, the cloud's power and the name."""

    states: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"cloud": healthy("active", 1), "fallback": healthy("standby", 1)}
    )
    away: set[str] = field(default_factory=set)
    """Sites that do not answer."""
    off: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sync_fails: bool = False
    sync_fails_times: int = 0
    older_files: bool = False
    """The target's files are older than the class's."""
    power_fails: str = ""
    dns_problem: str = ""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    ill: str = ""

    def reach(self, name: str) -> None:
        if name in self.away:
            raise UnreachableError(f"the {name} site did not answer")

    def look(self) -> None:
        """The alarm."""
        writing = [n for n, s in self.states.items() if s["role"] == "active" and n not in self.off]
        assert len(writing) <= 1, f"two writable sites: {writing}"

    def around(self) -> Surroundings:
        sites = Sites(
            *(FakeSite(n, a, 443, None, world=self) for n, a in (("cloud", "127.0.0.1"), ("fallback", "127.0.0.2")))
        )  # type: ignore[arg-type]
        return Surroundings(
            sites,
            "https://demo.localhost:8443",
            "",
            5,
            60,
            power=lambda: FakePower(self),
            dns=FakeDns(self),
            health=self._health,
        )

    def _health(self, hub: Any, token: str) -> dict[str, Any]:
        if self.ill:
            raise UserError(self.ill)
        assert token.startswith("operator_token")
        return {"answered_s": 1.0, "computed_s": 2.0}


@dataclass
class FakePower:
    world: World

    def stop(self) -> Any:
        if self.world.power_fails:
            raise UserError(self.world.power_fails)
        self.world.off.add("cloud")
        return type("Proof", (), {"how": "cloud", "detail": "instance stopped"})()


@dataclass
class FakeDns:
    world: World

    def check(self) -> str:
        return self.world.dns_problem

    def look(self) -> Any:
        return type("Seen", (), {"addresses": self.world.addresses, "ttl_s": 5})()

    def switch(self, addresses: tuple[str, ...], ttl_s: int) -> None:
        self.world.addresses = addresses
