"""An engine comes from the first source that has it, checked, whole, and once."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from operations.errors import UserError
from toolchain import golang, release
from toolchain.obtain import Engine, obtain, version_of
from toolchain.pins import Tool, load
from toolchain.sources import Unavailable

pytestmark = pytest.mark.unit

VERSION = "1.2.3"


def script(version: str) -> bytes:
    return f"#!/bin/sh\necho v{version}\n".encode()


def make_tool(**changes: object) -> Tool:
    values: dict[str, object] = {
        "name": "engine", "version": VERSION, "files": ("engine", "engine-helper"), "release": "http://127.0.0.1:1/x.tar.gz",
        "checksums": "http://127.0.0.1:1/sums", "arch_names": {"amd64": "x64", "arm64": "arm64"}, "strip_prefix": "engine/",
        "sha256": {}, "builds": (), "copies": (),
    }  # fmt: skip
    return Tool(**{**values, **changes})  # pyright: ignore[reportArgumentType]


class Fake:
    """A source that writes a script answering `version`, or raises."""

    def __init__(self, name: str, version: str = VERSION, error: BaseException | None = None, files: int = 2) -> None:
        self.name, self.version, self.error, self.files = name, version, error, files
        self.calls = 0

    def fill(self, tool: Tool, into: Path, cache: Path, tell: Callable[[str], None]) -> None:
        self.calls += 1
        for file in tool.files[: self.files]:
            (into / file).write_bytes(script(self.version))
            (into / file).chmod(0o755)
        if self.error:
            raise self.error


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "cache"


def get(cache: Path, *sources: Fake, tool: Tool | None = None) -> Engine:
    return obtain("engine", cache=cache, sources=sources, tool=tool or make_tool())


def test_the_first_source_that_has_it_is_used_and_kept(cache: Path) -> None:
    release_, build = Fake("release", error=Unavailable("no way out")), Fake("build")
    engine = get(cache, release_, build)
    assert (engine.source, release_.calls, build.calls) == ("build", 1, 1)
    assert engine.program == cache / "engine" / VERSION / "engine"
    again = get(cache, release_, build)
    assert (again.source, release_.calls, build.calls) == ("cache", 1, 1)


def test_the_one_on_path_is_used_if_it_has_exactly_the_version(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for version, source in (("1.2.4", "build"), (VERSION, "PATH")):
        Fake("", version).fill(make_tool(), folder, cache, print)
        assert get(cache / version, Fake("build")).source == source


def test_an_incomplete_one_on_path_is_not_used(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake("", files=1).fill(make_tool(), tmp_path, cache, print)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert get(cache, Fake("build")).source == "build"


@pytest.mark.parametrize("bad", [Fake("bad", version="9.9.9"), Fake("bad", files=1)])
def test_a_source_that_gives_something_else_is_passed_over(cache: Path, bad: Fake) -> None:
    assert get(cache, bad, Fake("build")).source == "build"


def test_when_no_source_has_it_each_reason_is_told(cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"(?s)engine 1.2.3.*release: no way out.*build: engine answers version 2.0.0, wanted 1.2.3"
    ):
        get(cache, Fake("release", error=Unavailable("no way out")), Fake("build", version="2.0.0"))
    assert list((cache / "engine").iterdir()) == []


def test_an_interrupted_source_leaves_nothing_that_counts(cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        get(cache, Fake("build", error=KeyboardInterrupt()))
    assert list((cache / "engine").iterdir()) == []
    assert get(cache, Fake("build")).source == "build"


def test_what_a_killed_run_left_is_swept_and_not_used(cache: Path) -> None:
    left = cache / "engine" / ".new-999999999-build"
    half = cache / "engine" / VERSION  # no receipt: the rename comes after it
    for folder in (left, half):
        folder.mkdir(parents=True)
        Fake("", version="0.0.1").fill(make_tool(), folder, cache, print)
    engine = get(cache, Fake("build"))
    assert engine.source == "build"
    assert version_of(engine.program) == VERSION
    assert not left.exists()


def test_two_at_once_obtain_it_once(cache: Path) -> None:
    class Slow(Fake):
        def fill(self, tool: Tool, into: Path, cache: Path, tell: Callable[[str], None]) -> None:
            time.sleep(0.3)
            super().fill(tool, into, cache, tell)

    source = Slow("build")
    found: list[str] = []
    # flock belongs to the open file, so threads exclude each other as processes do.
    threads = [threading.Thread(target=lambda: found.append(get(cache, source).source)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["build", "cache", "cache"]
    assert source.calls == 1


def archive(*names: str, version: str = VERSION) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in (*names, "engine/LICENSE", "../outside"):
            content = script(version)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


WHOLE = archive("engine/engine", "engine/engine-helper")


class Site:
    """A release server on loopback. `cut`: bytes after which a download breaks off."""

    def __init__(self) -> None:
        self.archive, self.sums, self.cut = WHOLE, "", -1
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.archive if self.path.endswith(".tar.gz") else site.sums.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: site.cut] if site.cut >= 0 and self.path.endswith(".tar.gz") else body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def tool(self, **changes: object) -> Tool:
        return make_tool(release=f"{self.url}/engine.tar.gz", checksums=f"{self.url}/sums", **changes)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Site()
    made.sums = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(WHOLE).hexdigest()}  engine.tar.gz\n"
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def fill(tool: Tool, into: Path) -> list[str]:
    release.Release().fill(tool, into, into, lambda _: None)
    return sorted(p.name for p in into.iterdir())


def test_a_release_is_checked_and_only_its_programs_are_unpacked(site: Site, tmp_path: Path) -> None:
    assert fill(site.tool(), tmp_path) == ["engine", "engine-helper"]
    assert version_of(tmp_path / "engine") == VERSION


def test_a_release_with_another_checksum_is_not_used(site: Site, tmp_path: Path) -> None:
    site.archive = archive("engine/engine", "engine/engine-helper", version="6.6.6")
    with pytest.raises(Unavailable, match="SHA-256"):
        fill(site.tool(), tmp_path)
    assert not (tmp_path / "engine").exists()


def test_a_pinned_checksum_counts_more_than_the_published_one(site: Site, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="expected ffff"):
        fill(site.tool(sha256={"engine.tar.gz": "f" * 64}), tmp_path)


def test_an_unlisted_release_is_not_downloaded(site: Site, tmp_path: Path) -> None:
    site.sums = f"{'0' * 64}  other.tar.gz\n"
    with pytest.raises(Unavailable, match="no line for"):
        fill(site.tool(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 10, len(WHOLE) - 1])
def test_a_download_that_breaks_off_is_not_used(site: Site, tmp_path: Path, cut: int) -> None:
    site.cut = cut
    with pytest.raises(Unavailable):
        fill(site.tool(), tmp_path)
    assert not (tmp_path / "engine").exists()


def test_an_archive_without_a_program_is_not_used(site: Site, tmp_path: Path) -> None:
    site.archive = archive("engine/engine")
    site.sums = f"{hashlib.sha256(site.archive).hexdigest()}  engine.tar.gz"
    with pytest.raises(Unavailable, match="lacks engine/engine-helper"):
        fill(site.tool(), tmp_path)


def test_without_a_way_out_the_next_source_comes_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        fill(make_tool(), tmp_path)
    assert time.monotonic() - began < release.CONNECT_TIMEOUT_S + 2


def fake_go(folder: Path, version: str) -> str:
    folder.mkdir(exist_ok=True)
    go = folder / "go"
    go.write_text(f'#!/bin/sh\n[ "$GOTOOLCHAIN" = local ] && echo go{version}\n')
    go.chmod(0o755)
    return str(go)


def test_a_go_that_is_too_old_is_replaced_by_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang, "wheel_go", lambda _pin, _cache, _tell: tmp_path / "wheel-go")
    for version, expected in (("1.25.10", "wheel-go"), ("1.25.11", "go"), ("1.26", "go")):
        go = fake_go(tmp_path, version)
        found, environment = golang.find_go((1, 25, 11), tmp_path, print, which=lambda _, go=go: go)
        assert Path(found).name == expected
        assert environment["CGO_ENABLED"] == "0"


def test_the_committed_modules_agree_with_the_pins(repository: Path) -> None:
    tools, go = load()
    for tool in tools.values():
        assert golang.needed_go(tool) <= golang.parse_version(go.version)
        for build in tool.builds:
            module = (repository / "toolchain" / "go" / build.module / "go.mod").read_text()
            assert f"tool {build.package}\n" in module
        main = (repository / "toolchain" / "go" / tool.builds[0].module / "go.mod").read_text()
        assert f" v{tool.version}" in main


def test_the_release_for_this_machine_is_named_as_its_publisher_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    tools, _ = load()
    assert tools["pulumi"].release_url() == "https://get.pulumi.com/releases/sdk/pulumi-v3.250.0-linux-x64.tar.gz"
    assert (tools["tofu"].release_url() or "").endswith("/v1.12.6/tofu_1.12.6_linux_amd64.tar.gz")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert tools["pulumi"].release_url() is None


def test_a_program_that_hangs_or_lies_has_no_version(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\nexit 3\n")
    assert version_of(program) is None  # not executable
    program.chmod(0o755)
    assert version_of(program) is None
    assert os.access(program, os.X_OK)
