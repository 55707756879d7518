"""Publishing images: the registry first, each content once, digests in the lock file; `up` refuses what is not published."""

from __future__ import annotations

import contextlib
import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from components import images_lock
from components.images_lock import LockedImage, placeholder
from operations import deploy, publish, setup, stacks
from operations.base_image import docker_client
from operations.engine import Pulumi
from operations.errors import UserError
from operations.preflight.questions import NotKnownError
from operations.registries import Registry, ecr
from tests.providers import fake_registry

CONTENT, OTHER = "a" * 64, "c" * 64
DIGEST = "sha256:" + "b" * 64
PREFIX = "123456789012.dkr.ecr.us-west-2.amazonaws.com/semesterhub-fa16"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    return tmp_path


@pytest.mark.unit
def test_a_published_image_is_noted_with_its_registry(root: Path) -> None:
    assert publish.noted("hub", CONTENT, DIGEST, PREFIX, root) == ()
    assert publish.noted("edge", CONTENT, DIGEST, PREFIX, root) == ()
    assert publish.noted("hub", CONTENT, DIGEST, "other.azurecr.io", root) == ()
    assert images_lock.read(root) == {
        "edge": LockedImage(CONTENT, DIGEST, (PREFIX,)),
        "hub": LockedImage(CONTENT, DIGEST, (PREFIX, "other.azurecr.io")),
    }


@pytest.mark.unit
def test_registries_that_have_an_older_image_are_dropped_and_told(root: Path) -> None:
    text = images_lock.written({"hub": LockedImage(OTHER, DIGEST, ("other.azurecr.io", PREFIX))})
    (root / images_lock.LOCK_FILE).write_text(text, encoding="utf-8")
    assert publish.noted("hub", CONTENT, DIGEST, PREFIX, root) == ("other.azurecr.io",)
    assert images_lock.read(root)["hub"].published == (PREFIX,)


@pytest.mark.unit
def test_a_placeholder_becomes_real(root: Path) -> None:
    (root / images_lock.LOCK_FILE).write_text(images_lock.written({"hub": placeholder(CONTENT)}), encoding="utf-8")
    assert publish.noted("hub", CONTENT, DIGEST, PREFIX, root) == ()
    assert images_lock.read(root)["hub"] == LockedImage(CONTENT, DIGEST, (PREFIX,))


class Docker:
    """Docker's client as far as a push goes."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages, self.calls = messages, []

    def tag(self, image: str, target: str, tag: str) -> None:
        self.calls.append(("tag", image, target, tag))

    def push(self, target: str, **options: Any) -> Iterator[dict[str, Any]]:
        self.calls.append(("push", target, options["tag"], options["auth_config"]["password"]))
        return iter(self.messages)

    def remove_image(self, name: str, **_options: Any) -> None:
        self.calls.append(("remove", name))


class There(Registry):
    """A registry that has one digest under every tag, or nothing, or does not answer."""

    def __init__(self, digest: str | Exception | None) -> None:
        super().__init__(PREFIX.partition("/")[0], "AWS", "secret", lambda _repository: "")
        object.__setattr__(self, "digest", digest)

    def digest_of(self, repository: str, reference: str) -> str | None:
        found = self.__dict__["digest"]
        if isinstance(found, Exception):
            raise found
        object.__setattr__(self, "asked", (repository, reference))
        return found


def pushed(registry: Registry, docker: Docker) -> str:
    return publish.push(registry, PREFIX, "hub", CONTENT, "sha256:1d", docker, lambda _text: None)  # type: ignore[arg-type]


@pytest.mark.unit
def test_an_image_goes_where_references_expect_it_and_leaves_no_tag_behind() -> None:
    docker = Docker({"id": "l1", "status": "Pushed"}, {"aux": {"Digest": DIGEST}})
    registry = There(None)
    assert pushed(registry, docker) == DIGEST
    target = f"{PREFIX}/semesterhub/hub"
    assert registry.__dict__["asked"] == ("semesterhub-fa16/semesterhub/hub", "a" * 16)
    assert docker.calls == [
        ("tag", "sha256:1d", target, "a" * 16),
        ("push", target, "a" * 16, "secret"),
        ("remove", f"{target}:{'a' * 16}"),
    ]


@pytest.mark.unit
def test_what_the_registry_has_is_not_pushed_again() -> None:
    docker = Docker()
    assert pushed(There(DIGEST), docker) == DIGEST
    assert docker.calls == []


@pytest.mark.unit
@pytest.mark.parametrize("messages", [[{"error": "denied: no push"}], [{"id": "l1", "status": "Pushed"}]])
def test_a_push_that_fails_says_so_and_leaves_no_tag_behind(messages: list[dict[str, Any]]) -> None:
    docker = Docker(*messages)
    with pytest.raises(UserError, match=r"denied: no push|did not say the digest"):
        pushed(There(None), docker)
    assert docker.calls[-1][0] == "remove"


@pytest.mark.unit
def test_a_registry_that_does_not_answer_stops_the_run() -> None:
    with pytest.raises(UserError, match="semesterhub-fa16/semesterhub/hub: no answer"):
        pushed(There(NotKnownError("no answer")), Docker())


@pytest.mark.unit
def test_ecr_gives_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        registry = ecr(lambda service: boto3.client(service, region_name="us-west-2"))  # type: ignore[call-overload]
    assert registry.host == "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    assert registry.username == "AWS" and registry.password
    assert registry.authorization("x").startswith("Basic ")


@pytest.mark.unit
def test_up_refuses_images_that_nobody_has_pushed() -> None:
    with pytest.raises(
        UserError, match=r"not published yet: hub, proxy, edge, student[\s\S]*image.publish --stack fa16"
    ):
        deploy.up("fa16")


@pytest.mark.unit
def test_up_refuses_images_that_have_changed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    semester = stacks.load("fa16")
    prefix = publish.registry_prefix("fa16", semester)
    assert prefix == PREFIX
    locked = {name: LockedImage(CONTENT, DIGEST, (prefix,)) for name in publish.image_names(semester)}
    monkeypatch.setattr(images_lock, "read", lambda *_root: locked)
    monkeypatch.setattr(publish.images, "content_hash", lambda name: OTHER if name == "edge" else CONTENT)
    with pytest.raises(UserError, match="changed since they were published: edge"):
        publish.require_published("fa16", semester)
    monkeypatch.setattr(publish.images, "content_hash", lambda _name: CONTENT)
    publish.require_published("fa16", semester)


@pytest.mark.unit
def test_a_local_stack_needs_no_publishing() -> None:
    publish.require_published("demo", stacks.load("demo"))
    with pytest.raises(UserError, match="runs on this machine"):
        publish.publish("demo")


@pytest.fixture
def tiny_image() -> Iterator[str]:
    """An image of one small file, made by this test."""
    setup.docker()
    api, name = docker_client(60), f"semesterhub-test-{uuid.uuid4().hex[:10]}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = len(name)
        tar.addfile(entry, io.BytesIO(name.encode()))
    api.import_image_from_data(buffer.getvalue(), repository=name, tag="1")
    try:
        yield api.inspect_image(f"{name}:1")["Id"]
    finally:
        api.remove_image(f"{name}:1", noprune=True)


@pytest.mark.sandbox
def test_a_real_push_gives_the_digest_by_which_the_registry_knows_it(tiny_image: str) -> None:
    with fake_registry.running() as server:
        registry = Registry(server.address, "none", "none", lambda _repository: "", scheme="http")
        first = publish.push(registry, server.address, "hub", CONTENT, tiny_image, docker_client(60), lambda _t: None)
        assert registry.digest_of("semesterhub/hub", first) == first
        assert registry.digest_of("semesterhub/hub", "f" * 16) is None
        again = publish.push(registry, server.address, "hub", CONTENT, tiny_image, docker_client(60), lambda _t: None)
        assert (again, server.pushes) == (first, 1)
    assert not [i for i in docker_client(60).images() if any(server.address in t for t in i["RepoTags"] or ())]


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("stack", "kinds"),
    [
        ("fa16", {"aws:kms/key:Key", "aws:kms/alias:Alias", "aws:ecr/repository:Repository", "aws:ecr/lifecyclePolicy:LifecyclePolicy"}),
        ("sp16", {"azure-native:resources:ResourceGroup", "azure-native:containerregistry:Registry"}),
    ],
)  # fmt: skip
def test_the_registry_stands_alone_first_and_the_whole_semester_finds_it_as_it_is(
    stack: str, kinds: set[str], tmp_path: Path
) -> None:
    from sandbox import session

    semester, folder = stacks.load(stack), setup.pulumi().folder
    with contextlib.ExitStack() as stay:
        place = stay.enter_context(session(stack, semester.cloud, root=tmp_path, banner=False)).place
        made = publish.deploy_registry(stack, semester, folder, place)
        assert {r.type for r in made.resources if r.custom and not r.type.startswith("pulumi:")} == kinds
        planned = Pulumi(stack, folder, place=place).run("preview")
    assert planned.changes["same"] == made.changes["create"]
    assert set(planned.changes) <= {"create", "same", "read"}
