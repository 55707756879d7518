"""The images' identity, their build context, and building them."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import base_image, images
from operations.errors import UserError

unit = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one image of a name that nobody else has."""
    folder = tmp_path / "hubconfig" / "images" / "thing"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY a.txt lib/ /\n")
    (folder / "a.txt").write_text("a")
    (folder / "image.toml").write_text('[context]\ninclude = ["lib/*.py"]\n[args]\nCOLOUR = "red"\n')
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "one.py").write_text("1")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    return tmp_path


def digest(root: Path) -> str:
    return images.recipe("thing", root).content_hash


@unit
def test_hash_is_of_content_only(root: Path) -> None:
    first = digest(root)
    os.utime(root / "lib" / "one.py", (1, 1))
    (root / "hubconfig/images/thing/ca-bundle.crt").write_text("not part of it")
    (root / "lib" / "__pycache__").mkdir()
    (root / "lib" / "__pycache__" / "one.py").write_text("x")
    assert digest(root) == first


@unit
@pytest.mark.parametrize(
    "change",
    [
        lambda r: (r / "lib/one.py").write_text("2"),
        lambda r: (r / "lib/two.py").write_text(""),
        lambda r: (r / "hubconfig/images/thing/a.txt").rename(r / "hubconfig/images/thing/b.txt"),
        lambda r: (r / "hubconfig/images/thing/a.txt").chmod(0o755),
        lambda r: (r / "hubconfig/images/thing/image.toml").write_text(
            '[context]\ninclude = ["lib/*.py"]\n[args]\nCOLOUR = "blue"\n'
        ),
    ],
)
def test_hash_sees_every_change(root: Path, change) -> None:
    first = digest(root)
    change(root)
    assert digest(root) != first


@unit
def test_hash_of_two_files_is_not_that_of_one(root: Path) -> None:
    """Content must not move between path and bytes, or from file to file, unseen."""
    (root / "lib/one.py").write_text("ab")
    (root / "lib/two.py").write_text("c")
    first = digest(root)
    (root / "lib/one.py").write_text("a")
    (root / "lib/two.py").write_text("bc")
    assert digest(root) != first


@unit
def test_hash_follows_the_base(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest(root)
    monkeypatch.setattr(images, "DEBIAN_IMAGE", "debian:bookworm-20990101-slim")
    assert digest(root) != first


@unit
def test_context_is_the_same_bytes_each_time(root: Path) -> None:
    files = images.recipe("thing", root).files
    first = images.context_tar(files, b"CA")
    os.utime(root / "lib" / "one.py", (1, 1))
    assert images.context_tar(files, b"CA") == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert tar.getnames() == sorted(["Dockerfile", "a.txt", "ca-bundle.crt", "image.toml", "lib/one.py"])
        assert {m.mtime for m in tar} == {0} and {m.uid for m in tar} == {0}
        assert tar.extractfile("ca-bundle.crt").read() == b"CA"  # pyright: ignore[reportOptionalMemberAccess]


@unit
@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[context]\ninclude = ["nothing/*.py"]\n', "the include 'nothing/*.py' matches no file"),
        ("[context\n", "not valid TOML"),
        ('[context]\ninclude = "lib/*.py"\n', "it must be a list of file patterns"),
        ("[args]\nN = 3\n", "it must map build argument names to texts"),
    ],
)
def test_wrong_image_toml_is_told(root: Path, toml: str, says: str) -> None:
    (root / "hubconfig/images/thing/image.toml").write_text(toml)
    with pytest.raises(UserError, match=says.replace("*", r"\*").replace("(", r"\(")):
        images.recipe("thing", root)


@unit
def test_unknown_image_is_told_with_the_known_ones(root: Path) -> None:
    with pytest.raises(UserError, match=r"there is no image 'thin'.*Known: thing"):
        images.recipe("thin", root)


@unit
def test_every_image_of_the_project_can_be_read() -> None:
    assert images.names()
    for name in images.names():
        assert len(images.content_hash(name)) == 64
        assert "ARG BASE" in images.recipe(name).files["Dockerfile"].read_text().splitlines()[0:5], name


@unit
def test_ca_bundle_is_the_hosts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"PEM")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert images.ca_bundle() == b"PEM"


@unit
def test_build_messages_are_whole_lines() -> None:
    stream = [{"stream": "Step 1/2 : FROM"}, {"stream": " x\n"}, {"stream": "10%\r100%\r\nend"}, {"error": "it broke"}]
    assert list(images._build_messages(iter(stream))) == [
        ("Step 1/2 : FROM x", ""),
        ("100%", ""),
        ("", "it broke"),
        ("end", ""),
    ]


@unit
def test_without_any_way_to_a_base_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_image.shutil, "which", lambda _: None)
    with pytest.raises(UserError) as caught:
        base_image._debootstrap("no route to host", print)
    said = str(caught.value)
    assert "no route to host" in said and "apt-get install debootstrap" in said and images.DEBIAN_IMAGE in said


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def own(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The image under a name of this run's own, on the real Docker."""
    name = f"test-{secrets.token_hex(3)}"
    (root / "hubconfig/images/thing").rename(root / "hubconfig/images" / name)
    monkeypatch.setattr(images, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(base_image, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(images.recipe, "__defaults__", (root,))
    yield name
    for tag in docker("images", "-q", f"semesterhub/{name}").split():
        subprocess.run(["docker", "rmi", "-f", tag], check=False, capture_output=True)


@pytest.mark.sandbox
def test_image_is_built_once_for_all_who_ask(own: str, root: Path) -> None:
    lines: list[str] = []
    built: list[images.BuiltImage] = []
    threads = [threading.Thread(target=lambda: built.append(images.build(own, lines.append))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({b.image_id for b in built}) == 1
    assert sorted(b.build_s > 0 for b in built) == [False, False, True]
    assert sum(line.startswith("Step 1/") for line in lines) == 1
    assert built[0].tag == images.tag_of(own, images.content_hash(own))
    again = images.build(own, lines.append)
    assert again.build_s == 0 and again.image_id == built[0].image_id
    (root / "lib/one.py").write_text("changed")
    assert images.build(own, lines.append).image_id != built[0].image_id


@pytest.mark.sandbox
def test_failed_build_names_image_step_and_last_lines(own: str, root: Path) -> None:
    (root / "hubconfig/images" / own / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nRUN echo before && echo broken >&2 && exit 3\n"
    )
    with pytest.raises(UserError) as caught:
        images.build(own, lambda _: None)
    said = str(caught.value)
    assert f"the image {own} could not be built" in said and "Step 3/3 : RUN echo before" in said
    assert "| broken" in said and "returned a non-zero code: 3" in said
    assert docker("images", "-q", f"semesterhub/{own}") == ""


@pytest.mark.sandbox
def test_build_stops_when_asked(own: str, root: Path) -> None:
    mark = 1000 + secrets.randbelow(10**6)
    (root / "hubconfig/images" / own / "Dockerfile").write_text(
        f"ARG BASE\nFROM ${{BASE}}\nRUN echo started && sleep {mark}\n"
    )

    class Stopped(Exception):
        pass

    def on_line(line: str) -> None:
        if line == "started":
            raise Stopped

    with pytest.raises(Stopped):
        images.build(own, on_line)
    deadline = time.monotonic() + 20
    while f"sleep {mark}" in docker("ps", "--no-trunc", "--format", "{{.Command}}"):
        assert time.monotonic() < deadline, "the step goes on without anybody waiting for it"
        time.sleep(0.2)
