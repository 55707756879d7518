"""An image goes from registry to registry byte for byte; what is there is not sent again, what is damaged is not kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from operations import registry_copy
from operations.errors import UserError
from operations.registries import Registry
from tests.providers import fake_registry

pytestmark = pytest.mark.unit
KIND = "application/vnd.docker.distribution.manifest.v2+json"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def filled(registry: fake_registry.Registry) -> str:
    """An image of a configuration and two layers, one of them empty; its digest."""
    parts = [b'{"a": 1}', b"layer" * 1000, b""]
    registry.blobs.update({digest(part): part for part in parts})
    config, *layers = ({"digest": digest(part), "size": len(part)} for part in parts)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": config, "layers": layers}).encode()
    registry.manifests["semesterhub/hub", digest(manifest)] = (manifest, KIND)
    return digest(manifest)


@pytest.fixture
def both() -> Iterator[tuple[fake_registry.Registry, fake_registry.Registry]]:
    with fake_registry.running() as source, fake_registry.running() as target:
        yield source, target


def entered(registry: fake_registry.Registry) -> Registry:
    return Registry(registry.address, "", "", lambda _repository: "", scheme="http")


def test_the_digest_stays_what_it_is_and_a_second_copy_sends_nothing(
    both: tuple[fake_registry.Registry, fake_registry.Registry],
) -> None:
    source, target = both
    image = filled(source)
    copied = (entered(source), "semesterhub/hub", entered(target), "hub", image, lambda _text: None)
    assert registry_copy.copy(*copied) is True
    assert target.manifests["hub", image] == source.manifests["semesterhub/hub", image]
    assert target.blobs == source.blobs
    assert registry_copy.copy(*copied) is False and target.pushes == 1


def test_a_copy_that_was_cut_off_goes_on_with_the_parts_that_are_missing(
    both: tuple[fake_registry.Registry, fake_registry.Registry],
) -> None:
    source, target = both
    image = filled(source)
    layer = next(name for name, content in source.blobs.items() if content.startswith(b"layer"))
    kept = source.blobs.pop(layer)
    with pytest.raises(UserError, match="does not give semesterhub/hub"):
        registry_copy.copy(entered(source), "semesterhub/hub", entered(target), "hub", image, lambda _text: None)
    assert target.pushes == 0
    # What arrived is not asked for again: the source has lost it.
    source.blobs = {
        name: content for name, content in {**source.blobs, layer: kept}.items() if name not in target.blobs
    }
    assert registry_copy.copy(entered(source), "semesterhub/hub", entered(target), "hub", image, lambda _text: None)
    assert layer in target.blobs and target.pushes == 1


def test_other_bytes_than_the_digest_says_are_refused(
    both: tuple[fake_registry.Registry, fake_registry.Registry],
) -> None:
    source, target = both
    image = filled(source)
    layer = next(name for name, content in source.blobs.items() if content.startswith(b"layer"))
    source.blobs[layer] = b"something else"
    with pytest.raises(UserError, match="with other bytes"):
        registry_copy.copy(entered(source), "semesterhub/hub", entered(target), "hub", image, lambda _text: None)
    assert layer not in target.blobs and target.pushes == 0


def test_a_registry_that_is_away_is_a_sentence() -> None:
    away = Registry("127.0.0.1:1", "", "", lambda _repository: "", scheme="http")
    with pytest.raises(UserError, match=r"registry 127\.0\.0\.1:1 does not answer"):
        registry_copy.has(away, "hub", "sha256:" + "a" * 64)
