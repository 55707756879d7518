"""Nothing floats: what is deployed today is what would be deployed next month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from operations.planned import UNKNOWN
from operations.policies.facts import Facts, Findings, at, items

_AMI: Final = re.compile(r"ami-[0-9a-f]{8,17}")
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
_FLOATING_TAG: Final = re.compile(r"^[a-z0-9][\w.\-/:]*:(latest|stable|main|master|edge|nightly)$")


def images(facts: Facts, found: Findings) -> None:
    """Machine images, container images and cluster versions are named exactly."""
    _machines(facts, found)
    _versions(facts, found)
    for r in facts.preview.kept():
        for path, text in _texts(r.inputs):
            if _FLOATING_TAG.match(text) and "image" in path.lower():
                found.add(r, path, text, "Name the image by its digest (name@sha256:…).")
    _outputs(facts, found)


def _machines(facts: Facts, found: Findings) -> None:
    for r in facts.planned("aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"):
        name = "ami" if r.kind == "Instance" else "imageId"
        value = r.inputs.get(name)
        if value is UNKNOWN or (value is None and r.inputs.get("launchTemplate")):
            continue
        if value is None and r.kind == "LaunchTemplate" and any(facts.planned("aws:eks/nodeGroup:NodeGroup")):
            continue  # the node group names its own release
        if not isinstance(value, str) or not _AMI.fullmatch(value):
            found.add(r, name, value, "Write the id of one image (ami-…): an alias is another image tomorrow.")
    for r in facts.planned("azure-native:compute:VirtualMachine"):
        _azure_image(r, "storageProfile.imageReference", found)
    for r in facts.planned("azure-native:compute:VirtualMachineScaleSet"):
        _azure_image(r, "virtualMachineProfile.storageProfile.imageReference", found)


def _versions(facts: Facts, found: Findings) -> None:
    for r in facts.planned("aws:ecr/repository:Repository"):
        value = r.inputs.get("imageTagMutability")
        if not str(value).startswith("IMMUTABLE"):
            found.add(r, "imageTagMutability", value, "Set it to IMMUTABLE.")
    for r in facts.planned("aws:eks/cluster:Cluster"):
        # Node groups and addons take what fits the cluster's version, once, and stay with it.
        if r.inputs.get("version") is None:
            found.add(r, "version", None, "Name the Kubernetes version.")
    for r in facts.planned("azure-native:containerservice:ManagedCluster"):
        if r.inputs.get("kubernetesVersion") is None:
            found.add(r, "kubernetesVersion", None, "Name the Kubernetes version.")


def _azure_image(r: Any, path: str, found: Findings) -> None:
    reference = at(r.inputs, path)
    if reference is UNKNOWN or not isinstance(reference, Mapping) or reference.get("id"):
        return
    version = reference.get("version")
    if version in {None, "latest"}:
        found.add(r, f"{path}.version", version, "Name the marketplace image's exact version.")


def _outputs(facts: Facts, found: Findings) -> None:
    named = facts.preview.outputs.get("images")
    for name, reference in sorted(named.items()) if isinstance(named, Mapping) else ():
        if isinstance(reference, str) and not _DIGEST.search(reference) and not reference.startswith("sha256:"):
            found.found.append(f"output images.{name} is {reference}. Name the image by its digest (name@sha256:…).")


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(items(value)):
            yield from _texts(item, f"{path}[{place}]")
