"""Which bytes an image of hubconfig/images is in a cloud's registry: `stacks/images.lock.yaml`, written by `image.publish`.

    student:
      content: <64 hexadecimal digits: the hash of what goes into the image>
      digest: sha256:<64 hexadecimal digits: the registry's name for the image>
      published: [<registry>/<prefix>, …]      # where `image.publish` has pushed it

Machines only ever pull by digest, so all nodes of a semester run the same bytes. An entry that is `published` nowhere has
a placeholder as digest: previews and the sandbox can go on, `./hub up` and `./hub preflight` refuse it (`unpublished`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.semester import Problem, Semester, SemesterError
from components.semester_errors import listing, show

ROOT = Path(__file__).resolve().parent.parent
LOCK_FILE = Path("stacks") / "images.lock.yaml"
REPOSITORY = "semesterhub"
"""Folder of the images' repositories in a registry."""
_INTRODUCTION = """\
# The images of hubconfig/images as clouds pull them: by digest. Written by `./hub image.publish --stack NAME`; do not edit.
# `content` is the hash of an image's folder, `published` names the registries that have it. An image that is published
# nowhere has a placeholder as digest: enough for previews and the sandbox, refused by `up` and `preflight`.
"""
_REMEDY = "run `./hub image.publish --stack NAME` and commit the file"


@dataclass(frozen=True)
class LockedImage:
    """One image of the lock file."""

    content: str
    digest: str
    published: tuple[str, ...]


def read(root: Path = ROOT) -> dict[str, LockedImage]:
    """All locked images by name. Raises `SemesterError` when the file is missing or damaged."""
    path = root / LOCK_FILE
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _error("(file)", "not there", "the file that `image.publish` writes", _REMEDY) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _error("(file)", f"not YAML: {str(error).splitlines()[0]}", "valid YAML", _REMEDY) from None
    if not isinstance(data, dict):
        raise _error("(file)", show(data), "a mapping of image names", _REMEDY)
    return {str(name): _entry(str(name), entry) for name, entry in data.items()}


def _entry(name: str, entry: Any) -> LockedImage:
    keys = {"content": r"[0-9a-f]{64}", "digest": r"sha256:[0-9a-f]{64}"}
    if not isinstance(entry, dict) or set(entry) != {*keys, "published"}:
        raise _error(name, show(entry), "a mapping with content, digest and published", _REMEDY)
    for key, form in keys.items():
        if not re.fullmatch(form, str(entry[key])):
            raise _error(f"{name}.{key}", show(entry[key]), f"text of the form {form}", _REMEDY)
    published = entry["published"]
    if not isinstance(published, list) or not all(isinstance(each, str) and each for each in published):
        raise _error(f"{name}.published", show(published), "a list of registries", _REMEDY)
    return LockedImage(entry["content"], entry["digest"], tuple(published))


def references(semester: Semester, registry: str, names: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Image name -> reference by digest, `<registry>/semesterhub/<name>@sha256:…`; `registry` may end in a folder.

    Courses' images that the stack file already pins by digest stand for themselves. Raises `SemesterError` for an image
    that is not in the lock file.
    """
    found = {course.image: course.image for course in semester.courses if "@" in course.image}
    wanted = [name for name in names if "@" not in name]
    locked = read(root) if wanted else {}
    for name in wanted:
        if name not in locked:
            raise _error(name, "missing", f"an entry for each image (there are: {listing(locked)})", _REMEDY)
        found[name] = f"{registry}/{REPOSITORY}/{name}@{locked[name].digest}"
    return found


def ecr_registry(account: str, region: str, stack: str) -> str:
    """What `references()` and `unpublished()` take for a stack on AWS: the account's registry in the region, and in it
    the stack's own folder, since two semesters in one account may not share repositories.
    """
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{suffix}/{REPOSITORY}-{stack}"


def unpublished(registry: str, names: Iterable[str], root: Path = ROOT) -> tuple[str, ...]:
    """Those of the images that this registry does not have. Raises `SemesterError` for a missing or damaged file."""
    locked = read(root)
    wanted = [name for name in names if "@" not in name]
    return tuple(name for name in wanted if name not in locked or registry not in locked[name].published)


def written(images: Mapping[str, LockedImage]) -> str:
    """The file's text."""
    data = {
        name: {"content": image.content, "digest": image.digest, "published": sorted(image.published)}
        for name, image in sorted(images.items())
    }
    return _INTRODUCTION + yaml.safe_dump(data, sort_keys=False, width=200)


def placeholder(content: str) -> LockedImage:
    """An image that nobody has published: its digest is the content's hash, which no registry knows."""
    return LockedImage(content, f"sha256:{content}", ())


def _error(key: str, value: str, allowed: str, remedy: str) -> SemesterError:
    return SemesterError(str(LOCK_FILE), [Problem(key, value, allowed, remedy)])
