"""The tables against the SDK and against botocore's models: what they name exists, what they take is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from sandbox.aws.convert import member
from sandbox.aws.functions import FUNCTIONS
from sandbox.aws.scope import supported
from sandbox.aws.spec import PROVIDER_DOCS, Call, Spec, words
from sandbox.aws.types import SPECS
from sandbox.sdk import Sdk

pytestmark = pytest.mark.unit
SDK = Sdk("pulumi_aws", "aws")
SESSION = botocore.session.Session()
MODELS: dict[str, Any] = {}


def operation(call: Call) -> Any:
    """botocore's model of the call."""
    if call.service not in MODELS:
        MODELS[call.service] = SESSION.get_service_model(call.service)
    model = MODELS[call.service]
    names = {botocore.xform_name(name): name for name in model.operation_names}
    assert call.operation in names, f"{call.service} has no {call.operation}"
    return model.operation_model(names[call.operation])


def calls(spec: Spec) -> Iterator[Call]:
    steps: list[Any] = [spec.create, spec.delete, *spec.before_delete, *(look.call for look in spec.looks)]
    steps += [call for update in spec.updates for call in update.calls]
    steps += [spec.tagging.set, spec.tagging.unset] if spec.tagging else []
    return (step for step in steps if isinstance(step, Call))


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda s: s.type)
def test_what_a_table_names_is_in_the_sdk(spec: Spec) -> None:
    shape = SDK.resource(spec.type)
    inputs = set(shape.schema.fields)
    named = {*supported(spec), *spec.seen, *(n.partition(".")[0] for n in words(spec.force_new)), *words(spec.kept)}
    assert named - inputs - {"region", "namePrefix"} == set()
    outputs = inputs | set(shape.outputs)
    assert {*spec.outputs, *words(spec.volatile), *words(spec.computed)} - outputs == set()
    assert spec.docs.startswith(PROVIDER_DOCS) and len(spec.docs) > len(PROVIDER_DOCS)
    required = {name for name, field in shape.schema.fields.items() if field.default is not None}
    assert required - supported(spec) == set(), "an input that must be given goes nowhere"


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda s: s.type)
def test_every_call_is_in_botocores_model(spec: Spec) -> None:
    for call in calls(spec):
        shape = operation(call).input_shape
        members = shape.members if shape else {}
        assert set(call.more) - set(members) == set(), (call.operation, call.more)
        for word in words(call.take):
            name, _, target = word.partition("=")
            assert (target or member(name, members)) in members, f"{call.operation} takes no {name}"


@pytest.mark.parametrize("token", FUNCTIONS)
def test_functions_are_in_the_sdk(token: str) -> None:
    assert SDK.function(token).outputs


def test_inputs_that_change_are_changed_by_some_call_or_need_a_new_resource() -> None:
    missing = {}
    for spec in SPECS.values():
        updatable = {name for update in spec.updates for name in words(update.inputs)}
        new = {name.partition(".")[0] for name in words(spec.force_new)}
        only_create: set[str] = set()
        if isinstance(spec.create, Call):
            only_create = {word.partition("=")[0] for word in words(spec.create.take)}
        left = only_create - updatable - new - set(words(spec.kept))
        if left:
            missing[spec.type] = sorted(left)
    assert missing == {}
