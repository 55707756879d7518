"""`./hub load.moves` and `./hub load.fencing`: moves of a light semester on this machine, killed, cut off and doubled.

Both use real machines: a hub VM, a bare-metal machine, their keepers and the SSH between them. While the trials go on, a
writer at each site's own address numbers every write that its hub acknowledges: two sites that acknowledge in the same
stretch of time are two writable sites, whatever the roles say.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations.errors import UserError
from operations.failover import local_cloud
from operations.failover.context import semester_with_fallback, sites_of
from operations.failover.health import FixedResolver
from operations.failover.journal import FOLDER
from operations.failover.sites import Sites, UnreachableError, look
from operations.load.browser import Browser, VisitError
from operations.load.target import Target
from operations.paths import ROOT
from operations.progress import note
from providers.localcloud import docker_api

COMMAND_TIMEOUT_S = 600.0
STANDBY_TIMEOUT_S = 240.0
PROBE_EVERY_S = 0.25
PROBE_USER = "fencing-probe"
STEPS_LINES = 18
"""Lines of an undisturbed journal after its first: nine steps, each began and done."""
TROUBLE = (VisitError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class Ack:
    """One acknowledged write: at which site, when it was sent and when the yes came (time.time())."""

    site: str
    number: int
    sent_at: float
    acked_at: float


@dataclass
class Trial:
    """One move under harm."""

    name: str
    kind: str
    problems: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.problems


class Probe:
    """A student at one site's own address who writes numbers into the hub's database whenever the hub lets them."""

    def __init__(self, target: Target, host: str, site: str, address: str, numbers: Iterator[int]) -> None:
        self.site, self._target, self._numbers = site, target, numbers
        self._resolver = FixedResolver(host, address)
        self.acks: list[Ack] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._probe()), daemon=True, name=f"probe {site}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    async def _probe(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(*TROUBLE):
                async with Browser(self._target.ssl_context(), timeout_s=10, resolver=self._resolver) as browser:
                    await self._sign_in(browser)
                    while not self._over.is_set():
                        await self._write(browser)
                        await asyncio.sleep(PROBE_EVERY_S)
            await asyncio.sleep(PROBE_EVERY_S)

    async def _sign_in(self, browser: Browser) -> None:
        page = await browser.open(f"{self._target.hub_url}/hub/login")
        form = next((f for f in page.forms() if "password" in f.names), None)
        if form is None:
            raise VisitError("no login form")
        values = {"username": PROBE_USER, "password": self._target.student_password}
        await browser.submit(page, form, values, follow=False)
        await browser.open(f"{self._target.hub_url}/hub/home")

    async def _write(self, browser: Browser) -> None:
        number, sent = next(self._numbers), time.time()
        body = {"note": f"fencing-{number}", "expires_in": 7200, "scopes": ["read:users:name!user"]}
        async with asyncio.timeout(5):
            await browser.call("POST", f"{self._target.hub_url}/hub/api/users/{PROBE_USER}/tokens", body)
        self.acks.append(Ack(self.site, number, sent, time.time()))


def overlaps(acks: list[Ack]) -> list[str]:
    """What proves two writable sites: a write that one site took, sent before the other site said its last yes.

    Between the two lies a fence and a promotion, which take seconds; and a site that is not active answers at once.
    """
    found: list[str] = []
    ordered = sorted(acks, key=lambda a: a.acked_at)
    for before, after in itertools.pairwise(ordered):
        if before.site != after.site and after.sent_at < before.acked_at:
            found.append(
                f"{after.site} took number {after.number} (sent {after.sent_at:.3f}) while {before.site} took {before.number} "
                f"(yes {before.acked_at:.3f})"
            )
    return found


def turns(acks: list[Ack]) -> int:
    """How often the writing went from one site to the other."""
    ordered = [a.site for a in sorted(acks, key=lambda a: a.acked_at)]
    return sum(one != other for one, other in itertools.pairwise(ordered))


class Ground:
    """A light semester with its fallback up, both sites reachable, and probes at both."""

    def __init__(self, stack: str, sites: Sites, target: Target, host: str) -> None:
        self.stack, self.sites, self.target = stack, sites, target
        counter = iter(range(1, 10**9))
        self.probes = [Probe(target, host, s.name, s.address, counter) for s in (sites.cloud, sites.fallback)]

    @property
    def acks(self) -> list[Ack]:
        return [ack for probe in self.probes for ack in list(probe.acks)]

    def begin(self, kind: str, *options: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        """`./hub <kind>` in a session of its own; `folder`: another admin's journals."""
        environment = {**os.environ, **({"SEMESTERHUB_JOURNALS": str(folder)} if folder else {})}
        return subprocess.Popen(
            [str(ROOT / "hub"), kind, "--stack", self.stack, *options],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def finish(self, kind: str, *options: str) -> tuple[int, str]:
        """`./hub <kind>` to its end: exit code and what it said at the end."""
        process = self.begin(kind, *options)
        try:
            _, err = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            kill(process)
            return 124, f"./hub {kind} did not end within {COMMAND_TIMEOUT_S:.0f} s"
        return process.returncode, err.decode(errors="replace").strip()

    def active(self) -> str:
        """The writable site; "" when there is none."""
        seen = {name: look(self.sites.named(name)) for name in ("cloud", "fallback")}
        writing = [name for name, s in seen.items() if s and s["writable"]]
        return writing[0] if len(writing) == 1 else "" if not writing else "both"

    def wait_for_standby(self, name: str) -> str:
        """ "" as soon as the site is a standby that has everything of the active one's epoch; else what it is."""
        deadline = time.monotonic() + STANDBY_TIMEOUT_S
        said = "it does not answer"
        while time.monotonic() < deadline:
            with contextlib.suppress(UnreachableError):
                seen = self.sites.named(name).status()
                mark = seen.get("watermark") or {}
                age_s = time.time() - float(mark.get("homes_until") or 0)
                if seen["role"] == "standby" and mark.get("epoch") == seen["active_epoch"] and age_s < 30:
                    return ""
                said = f"{seen['role']}, watermark of epoch {mark.get('epoch')}, {age_s:.0f} s old"
            time.sleep(1)
        return f"the {name} site did not become a standby within {STANDBY_TIMEOUT_S:.0f} s: {said}"


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the command and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lines_of(stack: str, after: float) -> int:
    """Lines of the newest journal that was begun after that moment, without its first."""
    found = [p for p in sorted((FOLDER / stack).glob("*.jsonl")) if p.stat().st_mtime >= after]
    return len(found[-1].read_bytes().splitlines()) - 1 if found else 0


def kill_at(ground: Ground, kind: str, line: int) -> bool:
    """Run the move and kill it when its journal has that many lines; False when it ended before."""
    began = time.time()
    process = ground.begin(kind)
    while process.poll() is None:
        if lines_of(ground.stack, began) >= line:
            kill(process)
            return True
        time.sleep(0.01)
    process.communicate()
    return False


def killed_moves(ground: Ground, lines: list[int]) -> list[Trial]:
    """For each line of the journal, a failover and a failback killed there and begun again."""
    trials = []
    for line in lines:
        for kind, target in (("failover", "fallback"), ("failback", "cloud")):
            trial = Trial(f"SIGKILL after line {line}", kind)
            began = time.monotonic()
            before = max(int(s["seen_epoch"]) for s in (ground.sites.cloud.status(), ground.sites.fallback.status()))
            if not kill_at(ground, kind, line):
                trial.problems.append("it ended before it could be killed")
            code, said = (0, "") if _ended(ground.stack) else ground.finish(kind)
            if code != 0:
                trial.problems.append(f"the second run failed: {said[-400:]}")
            trial.problems += _as_it_should_be(ground, target, before + 1)
            trial.took_s = time.monotonic() - began
            trials.append(trial)
            note(
                f"{kind} killed after line {line}: {'; '.join(trial.problems) or 'the same command ended in the same state'}"
            )
    return trials


def _ended(stack: str) -> bool:
    newest = sorted((FOLDER / stack).glob("*.jsonl"))[-1]
    return any(json.loads(line).get("step") == "end" for line in newest.read_text().splitlines() if line.endswith("}"))


def _as_it_should_be(ground: Ground, target: str, epoch: int | None) -> list[str]:
    """What is not as after an undisturbed move to `target`."""
    problems = []
    seen = look(ground.sites.named(target))
    if seen is None or seen["role"] != "active" or seen["claim"] is not None:
        problems.append(f"the {target} site is {seen and seen['role']}, its claim {seen and seen['claim']}")
    elif epoch is not None and seen["epoch"] != epoch:
        problems.append(f"epoch {seen['epoch']} instead of {epoch}")
    late = ground.wait_for_standby("cloud" if target == "fallback" else "fallback")
    if late:
        problems.append(late)
    if (writing := ground.active()) != target:
        problems.append(f"writable is {writing or 'no site'}, not {target}")
    return problems


# -- fencing -----------------------------------------------------------------------------------------------------------

HEALED_TIMEOUT_S = 180.0
"""For a machine that was restarted or killed to come back, and the command to get through."""
HARMS = ("none", "dead", "paused", "cut off", "killed command", "two admins", "restarted")


def schedule(seed: int) -> list[str]:
    """The harms of one trial: one or two of them, by the seed."""
    rng = random.Random(f"fencing {seed}")
    return rng.sample(HARMS, rng.choice((1, 1, 2)))


def fenced_moves(ground: Ground, seeds: list[int]) -> list[Trial]:
    """One move for each seed, each from whatever site is active, under its schedule of harms."""
    trials = []
    for seed in seeds:
        source = ground.active()
        kind = "failover" if source == "cloud" else "failback"
        target = ground.sites.other(source).name if source in ("cloud", "fallback") else ""
        harms = schedule(seed)
        trial = Trial(f"{seed}: {', '.join(harms)}", kind)
        trials.append(trial)
        if not target:
            trial.problems.append(f"writable before the trial: {source or 'no site'}")
            break
        began, at = time.monotonic(), time.time()
        _harmed(ground, random.Random(f"harm {seed}"), source, kind, harms, trial)
        trial.problems += _as_it_should_be(ground, target, None)
        mine = [ack for ack in ground.acks if ack.acked_at >= at - 5]
        trial.problems += overlaps(mine)
        trial.took_s = time.monotonic() - began
        note(f"{trial.name}: {'; '.join(trial.problems) or f'one writer at a time, {len(mine)} writes'}")
    return trials


def _harmed(ground: Ground, rng: random.Random, source: str, kind: str, harms: list[str], trial: Trial) -> None:
    """The move under its harms, then everything healed and the command run to its end."""
    machine = f"semesterhub-{ground.stack}-{'hub' if source == 'cloud' else 'metal'}"
    options: list[str] = []
    with contextlib.ExitStack() as healing:
        if {"restarted", "dead", "paused"} & set(harms):
            docker_api.thaw(machine)  # a machine with a frozen proxy in it does not even die
        if "restarted" in harms:
            docker("restart", "--time", "0", machine)
        if "dead" in harms:
            docker("kill", machine)
            healing.callback(_healed, ground.stack, source, machine)
            options += ["--accept-loss"] if source == "cloud" else ["--accept-loss", "--i-have-powered-it-off"]
        elif "paused" in harms:
            docker("pause", machine)
            healing.callback(_healed, ground.stack, source, machine)
            options += ["--accept-loss"]
            if source == "fallback":
                # The admin's word must be true: what is paused would go on writing.
                docker("kill", machine)
                options += ["--i-have-powered-it-off"]
        if "cut off" in harms:
            _cut(ground, "-I")
            healing.callback(_cut, ground, "-D")
            options += [] if "--accept-loss" in options else ["--accept-loss"]
        time.sleep(rng.uniform(0, 3))
        if "two admins" in harms:
            folder = Path(ROOT / ".semesterhub" / "failover-other-admin")
            other = ground.begin(kind, *options, folder=folder)
            time.sleep(rng.uniform(0, 1.5))
            code, said = ground.finish(kind, *options)
            _, err = other.communicate(timeout=COMMAND_TIMEOUT_S)
            if code != 0 and other.returncode != 0:
                note(
                    f"neither admin got through at once: {said.splitlines()[-1:]} / {err.decode(errors='replace').splitlines()[-1:]}"
                )
        elif "killed command" in harms:
            process = ground.begin(kind, *options)
            time.sleep(rng.uniform(0.5, 8))
            kill(process)
    # Healed. Whoever is responsible runs the command again until it is through.
    wanted = "fallback" if kind == "failover" else "cloud"
    said = ""
    until = time.monotonic() + HEALED_TIMEOUT_S
    while time.monotonic() < until:
        if ground.active() == wanted and not (ground.sites.named(wanted).status().get("claim")):
            return
        code, said = ground.finish(kind, *{*options, "--take-over", "--accept-loss"} - {"--i-have-powered-it-off"})
        if code == 0:
            return
        time.sleep(3)
    trial.problems.append(f"the command did not get through after the harm was over: {said[-300:]}")


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=120)


def _healed(stack: str, source: str, machine: str) -> None:
    """Whatever was taken from it, the site runs again: a cloud that was switched off has lost its workers, too."""
    docker("unpause", machine)
    docker("start", machine)
    if source == "cloud":
        local_cloud.revive(stack)


def _cut(ground: Ground, how: str) -> None:
    """The sites do not reach each other (`-I`), or do again (`-D`); an admin reaches both."""
    port = str(semester_with_fallback(ground.stack).fallback.port)  # type: ignore[union-attr]
    docker(
        "exec",
        f"semesterhub-{ground.stack}-hub",
        "iptables",
        "-w",
        how,
        "OUTPUT",
        "-p",
        "tcp",
        "--dport",
        port,
        "-j",
        "DROP",
    )


@contextlib.contextmanager
def ground(stack: str) -> Iterator[Ground]:
    """The sites of a stack that is up, with its fallback, and probes that write."""
    from operations.load.runs import target_of

    semester = semester_with_fallback(stack)
    with sites_of(stack, semester) as sites:
        prepared = Ground(stack, sites, target_of(stack), semester.domain)
        for probe in prepared.probes:
            probe.start()
        try:
            yield prepared
        finally:
            for probe in prepared.probes:
                probe.stop()


def run_moves(stack: str, sample: int = 0) -> list[Trial]:
    """`./hub load.moves`."""
    lines = list(range(1, STEPS_LINES + 1))
    if sample:
        lines = sorted(random.Random("moves").sample(lines, min(sample, len(lines))))
    with ground(stack) as prepared:
        trials = killed_moves(prepared, lines)
    show("Moves killed at a line of their journal", trials)
    return trials


def run_fencing(stack: str, count: int = 20, seed: int = 1) -> list[Trial]:
    """`./hub load.fencing`."""
    with ground(stack) as prepared:
        trials = fenced_moves(prepared, list(range(seed, seed + count)))
        note(f"{len(prepared.acks)} writes acknowledged, the writing changed sites {turns(prepared.acks)} times")
    show("Moves under harm", trials)
    return trials


def show(title: str, trials: list[Trial], console: Console | None = None) -> None:
    """A table; raises UserError when one did not end well."""
    good = sum(t.ok for t in trials)
    table = Table(
        "what", "move", "took", "result", title=f"{title}: {good} of {len(trials)} ended well", title_justify="left"
    )
    for t in trials:
        table.add_row(
            escape(t.name),
            t.kind,
            f"{t.took_s:.0f} s",
            "[green]well[/]" if t.ok else f"[red]{escape('; '.join(t.problems))}[/]",
        )
    (console or Console()).print(table)
    if good < len(trials):
        raise UserError(f"{len(trials) - good} of {len(trials)} did not end well; the table says why")
