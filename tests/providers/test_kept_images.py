"""Images kept as a registry has them: the next registry gets the same bytes without Docker, and nothing wrong is ever used."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers.base import Context
from providers.localcloud import kept_images, registry_image
from providers.localcloud.registry import Registry
from tests.providers import fake_registry
from tests.providers.conftest import docker
from tests.providers.test_localcloud_hub import Silent

pytestmark = pytest.mark.sandbox


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setattr(kept_images, "FOLDER", tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two images of one layer and two labels."""
    tags = [f"semesterhub/test-kept:{secrets.token_hex(4)}" for _ in range(2)]
    layer = secrets.token_bytes(100_000)
    for tag in tags:
        _build(tag, {"Dockerfile": f'FROM scratch\nCOPY f /f\nLABEL it="{tag}"\n'.encode(), "f": layer})
    yield tags[0], tags[1]
    docker("rmi", "-f", *tags, check=False)


def _build(tag: str, files: dict[str, bytes]) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    subprocess.run(["docker", "build", "-q", "-t", tag, "-"], input=context.getvalue(), check=True, capture_output=True)


def push(registry: fake_registry.Registry, tag: str) -> dict[str, Any]:
    """What `up` does for one image."""
    inputs = {
        "tag": tag,
        "image_id": docker("image", "inspect", "-f", "{{.Id}}", tag),
        "push_address": registry.address,
        "pull_address": "10.1.2.3:5000",
        "repository": "it",
    }
    made = registry_image.RegistryImageHandler().create(Context("urn::it", Silent()), inputs)
    return dict(made.outputs)


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tags that Docker pushed itself."""
    asked: list[str] = []
    push_it = registry_image._push

    def noted(ctx: Context, inputs: Any, tag: str) -> str:
        asked.append(inputs["tag"])
        return push_it(ctx, inputs, tag)

    monkeypatch.setattr(registry_image, "_push", noted)
    return asked


def test_another_registry_gets_the_same_bytes_without_docker(pair: tuple[str, str], pushed: list[str]) -> None:
    with fake_registry.running() as first, fake_registry.running() as second:
        assert push(first, pair[0]) == push(second, pair[0])
        assert second.blobs == first.blobs and second.manifests == first.manifests
    assert pushed == [pair[0]]


def test_a_layer_of_two_images_is_there_once(pair: tuple[str, str], pushed: list[str], folder: Path) -> None:
    with fake_registry.running() as registry:
        for tag in pair:
            push(registry, tag)
    assert pushed == list(pair)
    layers = [file for file in folder.glob("*/*") if file.stat().st_size > 90_000]
    assert len(layers) == 2 and layers[0].samefile(layers[1])


@pytest.mark.parametrize("how", ["damaged", "gone", "manifest"])
def test_what_is_damaged_is_never_used(how: str, pair: tuple[str, str], pushed: list[str], folder: Path) -> None:
    with fake_registry.running() as registry:
        want = push(registry, pair[0])
    (layer,) = (file for file in folder.glob("*/*") if file.stat().st_size > 90_000)
    if how == "damaged":
        layer.write_bytes(b"x" * layer.stat().st_size)
    elif how == "gone":
        layer.unlink()
    else:
        (layer.parent / "manifest.json").write_text('{"config": ')
    with fake_registry.running() as another:
        assert push(another, pair[0]) == want, "pushed by Docker instead"
    assert pushed == [pair[0], pair[0]]
    with fake_registry.running() as third:
        assert push(third, pair[0]) == want, "and kept again"
    assert len(pushed) == 2


def test_what_docker_no_longer_has_is_dropped_and_what_a_killed_run_left(
    pair: tuple[str, str], pushed: list[str], folder: Path
) -> None:
    with fake_registry.running() as registry:
        push(registry, pair[0])
        (kept,) = folder.iterdir()
        docker("rmi", "-f", pair[0])
        for name, age_s in (("old", 7200), ("new", 60)):
            (folder / f".{name}").mkdir()
            then = (folder / f".{name}").stat().st_mtime - age_s
            os.utime(folder / f".{name}", (then, then))
        push(registry, pair[1])
    assert not kept.exists() and sorted(f.name for f in folder.glob(".*")) == [".new"]
    assert len(list(folder.glob("[0-9a-f]*"))) == 1 and len(pushed) == 2


def test_a_registry_that_breaks_off_leaves_nothing_half_kept(
    pair: tuple[str, str], pushed: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(kept_images, "_fetch", broken)
    with fake_registry.running() as registry:
        push(registry, pair[0])
        assert list(folder.iterdir()) == [] and len(pushed) == 1


def test_it_is_asked_for_layers_that_it_has_already(pair: tuple[str, str], pushed: list[str]) -> None:
    with fake_registry.running() as registry:
        push(registry, pair[0])
        have = dict(registry.blobs)
        registry.manifests.clear()
        image = docker("image", "inspect", "-f", "{{.Id}}", pair[0])
        context = Context("urn::it", Silent())
        assert kept_images.send(context, Registry(registry.address), "it", "x", image)
        assert registry.blobs == have and registry.uploads == {}
    assert len(pushed) == 1
