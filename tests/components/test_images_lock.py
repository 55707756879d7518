"""The images of a cloud are named by digest, and an image that no registry has is known as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from components import images_lock
from components.hub_bundle import HUB_IMAGES, course_images
from components.images_lock import LockedImage, placeholder, references, unpublished
from components.semester import Semester, SemesterError, load_stack_file

pytestmark = pytest.mark.unit

REGISTRY = "123456789012.dkr.ecr.us-west-2.amazonaws.com/semesterhub-fa16-images"
CONTENT, DIGEST = "a" * 64, "sha256:" + "b" * 64
PINNED = f"registry.example.edu/course/image@{DIGEST}"


@pytest.fixture
def semester(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.fa16.yaml")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    images = {"hub": LockedImage(CONTENT, DIGEST, (REGISTRY,)), "student": placeholder(CONTENT)}
    (tmp_path / images_lock.LOCK_FILE).write_text(images_lock.written(images), encoding="utf-8")
    return tmp_path


def test_what_is_written_is_read_back(lock: Path) -> None:
    assert images_lock.read(lock) == {
        "hub": LockedImage(CONTENT, DIGEST, (REGISTRY,)),
        "student": LockedImage(CONTENT, f"sha256:{CONTENT}", ()),
    }


def test_references_are_by_digest(lock: Path, semester: Semester) -> None:
    assert references(semester, REGISTRY, ["hub"], lock) == {"hub": f"{REGISTRY}/semesterhub/hub@{DIGEST}"}


def test_a_course_image_by_digest_stands_for_itself(lock: Path, semester: Semester) -> None:
    course = semester.courses[0].model_copy(update={"image": PINNED})
    pinned = semester.model_copy(update={"courses": (course,)})
    assert references(pinned, REGISTRY, [PINNED], lock) == {PINNED: PINNED}


def test_only_what_this_registry_has_is_published(lock: Path) -> None:
    assert unpublished(REGISTRY, ["hub", "student", PINNED], lock) == ("student",)
    assert unpublished("other.azurecr.io", ["hub"], lock) == ("hub",)
    assert unpublished(REGISTRY, ["edge"], lock) == ("edge",)


def test_a_missing_image_is_refused_with_what_to_do(lock: Path, semester: Semester) -> None:
    with pytest.raises(SemesterError, match=r"edge is missing[\s\S]*hub, student[\s\S]*image.publish"):
        references(semester, REGISTRY, ["edge"], lock)


@pytest.mark.parametrize(
    "text",
    ["", "- hub", "hub: 1", "hub: {content: x, digest: y, published: []}", "hub: {", f"hub: {{content: {CONTENT}, digest: '{DIGEST}'}}",
     f"hub: {{content: {CONTENT}, digest: '{DIGEST}', published: yes}}"],
)  # fmt: skip
def test_a_damaged_file_is_refused(text: str, lock: Path) -> None:
    (lock / images_lock.LOCK_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(SemesterError, match=r"images\.lock\.yaml"):
        images_lock.read(lock)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SemesterError, match="not there"):
        images_lock.read(tmp_path)


@pytest.mark.parametrize("name", ["sp16", "fa16", "fa26", "fa26-azure"])
def test_the_committed_file_has_every_image_of_the_stacks(name: str, repository: Path) -> None:
    semester = load_stack_file(repository / "stacks" / f"Pulumi.{name}.yaml")
    names = (*HUB_IMAGES, *course_images(semester))
    assert set(references(semester, REGISTRY, names)) == set(names)
