"""`image.publish`: builds a semester's images, pushes them to its cloud's registry as the admin, and notes their digests.

The registry is one of the stack's own resources, but a real `up` wants the images first: so when it is not there yet,
the registry alone (and its key) is deployed before the first push. An image whose content the registry already has is
not pushed again, and the lock file is written after each image, so a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import images_lock
from components.hub_bundle import HUB_IMAGES, course_images
from components.images_lock import LOCK_FILE, REPOSITORY, LockedImage
from operations import images, setup, stacks
from operations.base_image import docker_client
from operations.engine import REAL, Place, Pulumi, Result
from operations.errors import UserError
from operations.paths import ROOT
from operations.preflight.questions import NotKnownError
from operations.progress import note, step
from operations.registries import Registry, acr, ecr

if TYPE_CHECKING:
    from docker import APIClient

    from components.semester import Semester

PUSH_SILENCE_TIMEOUT_S = 600
TAG_LENGTH = 16
_FIRST = {
    "aws": ("**pulumi:providers:aws::**", "**semesterhub:aws:Encryption**", "**semesterhub:aws:Registry**"),
    "azure": ("**pulumi:providers:azure-native::**", "**semesterhub:azure:Groups**", "**semesterhub:azure:Registry**"),
}
"""What has to stand before the first push, as patterns of Pulumi resource names."""


def publish(stack: str) -> None:
    """Everything named in the module's text. Raises UserError and SemesterError."""
    semester = stacks.load(stack)
    if semester.cloud == "local":
        raise UserError(
            f"stack '{stack}' runs on this machine, and `up` puts its images into its own registry. "
            "`image.publish` is for cloud: aws and azure."
        )
    setup.docker()
    prefix = registry_prefix(stack, semester)
    names = image_names(semester)
    _stand(stack, semester, names)
    with step("signing in to the registry"):
        registry = _enter(semester, prefix)
    for name in names:
        with step(f"image {name}") as tell:
            built = images.build(name, tell)
            content = images.content_hash(name)
            tell("pushing")
            digest = push(registry, prefix, name, content, built.image_id, docker_client(PUSH_SILENCE_TIMEOUT_S), tell)
        for other in noted(name, content, digest, prefix):
            note(f"{other} has another image of {name}: publish there again before its next `up`")
    note(f"{LOCK_FILE} names {len(names)} images of {prefix}. Commit it.")


def registry_prefix(stack: str, semester: Semester) -> str:
    """Where the stack's images are: host and, on AWS, the stack's folder. Raises UserError without an account."""
    if semester.cloud == "azure":
        from components.azure.site import site

        return site(stack, semester).registry_server
    if semester.account is None:
        raise UserError(
            f'write `semesterhub:account: "…"` (12 digits) in stacks/Pulumi.{stack}.yaml: it names the registry.'
        )
    return images_lock.ecr_registry(semester.account, str(semester.region), stack)


def image_names(semester: Semester) -> tuple[str, ...]:
    """Images of hubconfig/images that the semester runs, each once."""
    return tuple(dict.fromkeys((*HUB_IMAGES, *course_images(semester))))


def require_published(stack: str, semester: Semester) -> None:
    """UserError when a real `up` would start machines whose images nobody has pushed, or whose images have changed."""
    if semester.cloud == "local":
        return
    names = image_names(semester)
    missing = images_lock.unpublished(registry_prefix(stack, semester), names)
    locked = images_lock.read()
    changed = [name for name in names if name not in missing and locked[name].content != images.content_hash(name)]
    if missing or changed:
        said = [f"not published yet: {', '.join(missing)}"] if missing else []
        said += [f"changed since they were published: {', '.join(changed)}"] if changed else []
        raise UserError(
            f"images of stack '{stack}': {'; '.join(said)}.\n"
            f"  ./hub image.publish --stack {stack} builds and pushes them; then commit {LOCK_FILE}."
        )


def _stand(stack: str, semester: Semester, names: Sequence[str]) -> None:
    """Deploys the registry when it is not there."""
    if _is_there(stack, semester, names):
        return
    note("the registry is not there yet: deploying it first, and nothing else")
    deploy_registry(stack, semester, setup.pulumi().folder)


def deploy_registry(stack: str, semester: Semester, folder: Path, place: Place = REAL) -> Result:
    """An `up` of the registry alone. `folder`: of the Pulumi CLI."""
    engine = Pulumi(stack, folder, fetch_plugins=not place.stand_ins, place=place)
    if "hub_url" not in engine.outputs():
        # A new stack: the rest of the program could not be planned around machines that are not there.
        extra = {"SEMESTERHUB_ONLY": "registry"}
        engine = Pulumi(stack, folder, extra, fetch_plugins=not place.stand_ins, place=place)
    # The targets keep everything else as it is, also what this run's program does not name.
    targets = [argument for pattern in _FIRST[semester.cloud] for argument in ("--target", pattern)]
    return engine.run("up", targets)


def _is_there(stack: str, semester: Semester, names: Sequence[str]) -> bool:
    if semester.cloud == "azure":
        with suppress(UserError):
            acr(registry_prefix(stack, semester))
            return True
        return False
    from botocore.exceptions import ClientError

    from operations.preflight import aws_clients

    folder = registry_prefix(stack, semester).partition("/")[2]
    try:
        aws_clients(semester)("ecr").describe_repositories(
            registryId=semester.account, repositoryNames=[f"{folder}/{REPOSITORY}/{name}" for name in names]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            return False
        raise UserError(f"ECR of account {semester.account}: {error}") from None
    return True


def _enter(semester: Semester, prefix: str) -> Registry:
    if semester.cloud == "azure":
        return acr(prefix)
    from operations.preflight import aws_clients

    registry = ecr(aws_clients(semester))
    if registry.host != prefix.partition("/")[0]:
        raise UserError(
            f"the credentials open {registry.host}, but the stack's images belong in {prefix}.\n"
            "  Take credentials of the stack's account (AWS_PROFILE), or correct semesterhub:account."
        )
    return registry


def push(
    registry: Registry, prefix: str, name: str, content: str, image_id: str, api: APIClient, tell: Callable[[str], None]
) -> str:
    """Puts an image where `images_lock.references()` expects it; its digest there. Raises UserError.

    The tag is the content's hash and never moves, so an image that is there under it is the same one.
    """
    folder = prefix.partition("/")[2]
    repository = f"{folder}/{REPOSITORY}/{name}".lstrip("/")
    tag = content[:TAG_LENGTH]
    try:
        there = registry.digest_of(repository, tag)
    except NotKnownError as error:
        raise UserError(f"{registry.host}/{repository}: {error}") from None
    return there or push_image(api, image_id, f"{registry.host}/{repository}", tag, registry, tell)


def push_image(
    api: APIClient, image_id: str, target: str, tag: str, registry: Registry, tell: Callable[[str], None]
) -> str:
    """Pushes an image of this host as `target:tag`; its digest there. Raises UserError."""
    from docker.errors import APIError, DockerException
    from requests import RequestException

    login = {"username": registry.username, "password": registry.password}
    digest, layers = "", {}
    try:
        api.tag(image_id, target, tag)
        for message in api.push(target, tag=tag, stream=True, decode=True, auth_config=login):
            digest = _digest_in(message, target) or digest
            if message.get("id") and message.get("status"):
                layers[message["id"]] = message["status"]
                done = sum(s in ("Pushed", "Layer already exists") or s.startswith("Mounted") for s in layers.values())
                tell(f"{done} of {len(layers)} layers")
    except (DockerException, RequestException) as error:
        raise UserError(f"pushing {target}:{tag} failed: {error}") from None
    finally:
        with suppress(APIError):
            api.remove_image(f"{target}:{tag}", noprune=True)
    if not digest:
        raise UserError(f"pushing {target}:{tag} failed: Docker did not say the digest. Run it again.")
    return digest


def _digest_in(message: dict[str, Any], target: str) -> str:
    if message.get("error"):
        raise UserError(f"pushing {target} failed: {message['error']}")
    return str((message.get("aux") or {}).get("Digest") or "")


def noted(name: str, content: str, digest: str, prefix: str, root: Path = ROOT) -> tuple[str, ...]:
    """Writes an image into the lock file. Registries that have another image than this one are dropped and returned."""
    path = root / LOCK_FILE
    locked = images_lock.read(root) if path.exists() else {}
    before = locked.get(name)
    image = LockedImage(content, digest, (prefix,))
    dropped: tuple[str, ...] = ()
    if before is not None:
        others = tuple(registry for registry in before.published if registry != prefix)
        if (before.content, before.digest) == (content, digest):
            image = replace(image, published=(*others, prefix))
        else:
            dropped = others
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(images_lock.written({**locked, name: image}), encoding="utf-8")
    fresh.replace(path)
    return dropped
