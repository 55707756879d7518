"""The stand-in's tables against the SDK, against the emulator, and against Azure's own Python models (azure-mgmt-*)."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.azure.emulator import kinds
from sandbox.azure.plugin import sdk
from sandbox.azure.plugin.force_new import FORCE_NEW, replaces
from sandbox.azure.plugin.functions import GETS, LISTS
from sandbox.azure.plugin.table import ENVELOPE, NESTED, NESTED_WIRE, TYPES

pytestmark = pytest.mark.unit

MODELS = {
    "network": "network",
    "compute": "compute",
    "storage": "storage",
    "containerservice": "containerservice",
    "keyvault": "keyvault",
}
"""SDK module -> the azure-mgmt package whose models have the same class names."""


@pytest.mark.parametrize("token", TYPES)
def test_each_type_is_in_the_sdk_and_in_the_emulator(token: str) -> None:
    info, arm = sdk.resource(f"azure-native:{token}"), TYPES[token]
    assert {name for name in arm.in_path if not name.startswith("=")} <= set(info.inputs)
    assert {*arm.children, *arm.unread, *arm.within, *arm.envelope} - {"properties"} <= set(info.inputs)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", arm.api_version or info.api_version)
    assert kinds.find(arm.type.replace("{recordType}", "A")) is not None
    assert len(arm.names) == arm.type.count("/") or arm.type == "Microsoft.Resources/resourceGroups"


def test_each_function_is_in_the_sdk() -> None:
    for token in [*GETS, *LISTS, "authorization:getClientConfig"]:
        sdk.function_arguments(f"azure-native:{token}")
    assert "accountName" in sdk.function_arguments("azure-native:storage:listStorageAccountKeys").fields


# --- what cannot change in place

FIXED = [(token, path) for token, table in FORCE_NEW.items() for path in table]


def nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    inner = nested(rest, value) if rest else value
    return {head: [inner] if head == "agentPoolProfiles" else inner}


@pytest.mark.parametrize(("token", "path"), FIXED)
def test_a_fixed_input_is_the_sdks_and_its_change_replaces(token: str, path: str) -> None:
    known = sdk.resource(f"azure-native:{token}").inputs
    module = token.partition(":")[0]
    for part in path.split("."):
        assert part in known, f"{token} has no {path}"
        known = sdk.args(module, known[part].args) if known[part].args else {}
    old, new = nested(path, "a"), nested(path, "b")
    written = path.replace("agentPoolProfiles", "agentPoolProfiles[0]")
    assert replaces(token, written, old, new) and replaces(f"azure-native:{token}", written, old, new)
    head = path.partition(".")[0]
    assert replaces(token, head, old, {}), "left out as a whole"
    if "." in path:
        assert not replaces(token, head, {}, new), "given for the first time"
    assert not replaces(token, "tags.course", {"tags": {"course": "a"}}, {"tags": {"course": "b"}})


@pytest.mark.parametrize(("token", "path"), FIXED)
def test_a_fixed_input_names_the_page_that_says_so(token: str, path: str) -> None:
    assert "https://learn.microsoft.com/" in FORCE_NEW[token][path]


def test_what_the_emulator_refuses_to_change_the_stand_in_replaces() -> None:
    for token, arm in TYPES.items():
        kind = kinds.find(arm.type)
        for fixed in kind.fixed if kind else ():
            path = fixed if "properties" in arm.envelope else fixed.removeprefix("properties.")
            path = {wire: own for own, wire in arm.wire.items()}.get(path, path)
            assert replaces(token, path, nested(path, "a"), nested(path, "b")), f"{token}: {path}"


# --- nesting and names, against Azure's own models


@functools.cache
def models(package: str) -> dict[str, tuple[dict[str, str], str, tuple[str, ...]]]:
    """Class -> (Python name -> name on the wire), the class of flattened `properties`, base classes. Read as text: an
    import takes seconds."""
    spec = importlib.util.find_spec(f"azure.mgmt.{package}")
    assert spec is not None and spec.origin is not None
    text = (Path(spec.origin).parent / "models" / "_models.py").read_text("utf-8")
    found: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {}
    for block in re.split(r"\n(?=class )", text):
        head = re.match(r"class (\w+)\(([^)]*)\)", block)
        if not head:
            continue
        fields = {}
        for own, arguments in re.findall(
            r"^    (\w+): (?:(?!\n    \w)[\s\S])*?= (?:\(\s*)?rest_(?:field|discriminator)\(((?:[^()]|\([^()]*\))*)\)",
            block,
            re.M,
        ):
            named = re.search(r'name="([^"]+)"', arguments)
            fields[own] = named[1] if named else own
        inner = re.search(r"^    properties: [^\n]*?_models\.(\w+)", block, re.M)
        flat = inner[1] if inner and "__flattened_items" in block else ""
        found[head[1]] = (fields, flat, tuple(re.findall(r"\w+", head[2])))
    return found


def wire_names(package: str, name: str) -> set[str]:
    """The names on the wire of a class, with those of its bases."""
    fields, _, bases = models(package)[name]
    return set(fields.values()) | {n for base in bases if base in models(package) for n in wire_names(package, base)}


def reachable(module: str) -> set[str]:
    """The Args classes that inputs of this module's types may hold."""
    found: set[str] = set()

    def visit(inputs: Any) -> None:
        for source in inputs.values():
            if source.args and source.args not in found:
                found.add(source.args)
                visit(sdk.args(module, source.args))

    for token in TYPES:
        if token.startswith(f"{module}:"):
            visit(sdk.resource(f"azure-native:{token}").inputs)
    return found


def objects() -> Iterator[tuple[str, str]]:
    for module, package in MODELS.items():
        yield from (
            (module, args) for args in sorted(reachable(module)) if args.removesuffix("Args") in models(package)
        )


@pytest.mark.parametrize("module", MODELS)
def test_objects_with_properties_of_their_own_are_known(module: str) -> None:
    for args in reachable(module):
        name = args.removesuffix("Args")
        _, flat, _ = models(MODELS[module]).get(name, ({}, "", ()))
        wanted = bool(flat) and "properties" not in sdk.args(module, args)
        assert not wanted or name in NESTED.get(module, frozenset()), f"{module}.{name}"
    for name in NESTED.get(module, ()):
        assert models(MODELS[module])[name][1], f"{module}.{name} has no properties of its own"


@pytest.mark.parametrize(("module", "args"), list(objects()))
def test_each_property_has_azures_name(module: str, args: str) -> None:
    name, package = args.removesuffix("Args"), MODELS[module]
    _, flat, _ = models(package)[name]
    known = {n.lower() for n in wire_names(package, name) | (wire_names(package, flat) if flat else set())}
    renamed = NESTED_WIRE.get(module, {}).get(name, {})
    sent = {renamed.get(own, own).lower() for own in sdk.args(module, args)}
    # The models are of one API version and the SDK of another: single properties come and go, names do not.
    unknown = sent - known - {n.lower() for n in ENVELOPE}
    assert len(unknown) <= len(sent) / 4, f"{module}.{name}: {sorted(unknown)}"


def modelled() -> Iterator[str]:
    for token in TYPES:
        module, _, name = token.partition(":")
        if module in MODELS and name in models(MODELS[module]):
            yield token


@pytest.mark.parametrize("token", list(modelled()))
def test_each_types_own_properties_have_azures_names(token: str) -> None:
    module, name = token.split(":")
    package, arm = MODELS[module], TYPES[token]
    _, flat, _ = models(package)[name]
    within = wire_names(package, flat) if flat else set()
    for own in sdk.resource(f"azure-native:{token}").inputs:
        if own in arm.in_path or own in ENVELOPE or not within:
            continue
        assert arm.wire.get(own, own).lower() in {n.lower() for n in within}, f"{token}.{own}"
