"""Names and place of a semester on Azure: deterministic, within each service's rules."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.azure.site import STACK_NAME, Site, site
from components.semester import SemesterError
from tests.components.azure.program import SUBSCRIPTION, run, semester

pytestmark = pytest.mark.unit

STACKS = st.from_regex(STACK_NAME, fullmatch=True)
SUBSCRIPTIONS = st.uuids().map(str)


@given(stack=STACKS, subscription=SUBSCRIPTIONS)
def test_names_keep_to_the_rules_of_their_services(stack: str, subscription: str) -> None:
    place = Site(stack, subscription, "westus2", {})
    for what in ("homes", "keep", "ops"):
        assert re.fullmatch(r"[a-z0-9]{3,24}", place.account(what))
    assert re.fullmatch(r"[a-z0-9]{5,50}", place.registry)
    assert re.fullmatch(r"[a-z](?!.*--)[a-z0-9-]{1,22}[a-z0-9]", place.vault)
    assert re.fullmatch(r"[\w.()-]{0,89}[\w()-]", place.data_group)
    assert uuid.UUID(place.guid("x"))


@given(stack=STACKS, subscription=SUBSCRIPTIONS)
def test_equal_stacks_have_equal_names_and_other_subscriptions_other_ones(stack: str, subscription: str) -> None:
    one, again, other = (Site(stack, s, "westus2", {}) for s in (subscription, subscription, str(uuid.uuid4())))
    names = [(p.account("homes"), p.registry, p.vault, p.guid("a")) for p in (one, again, other)]
    assert names[0] == names[1]
    assert all(mine != theirs for mine, theirs in zip(names[0], names[2], strict=True))


def test_long_stacks_that_begin_alike_have_different_names() -> None:
    one, other = (Site(f"a-very-long-semester-name-{end}", SUBSCRIPTION, "westus2", {}) for end in "xy")
    assert (
        one.vault != other.vault and one.account("homes") != other.account("homes") and one.registry != other.registry
    )


def test_zones_only_where_the_region_has_them() -> None:
    assert Site("s", SUBSCRIPTION, "westus2", {}).zones == ("1", "2", "3")
    assert Site("s", SUBSCRIPTION, "westus", {}).zones == ()


def test_a_stack_without_a_subscription_is_refused_with_what_to_do() -> None:
    with pytest.raises(SemesterError, match=r"semesterhub:account is missing(?s:.)*az account show"):
        site("sp16", semester(account=None))


def test_a_stack_name_that_fits_no_resource_is_refused() -> None:
    with pytest.raises(SemesterError, match="Fall_2026"):
        site("Fall_2026", semester())


def test_one_explicit_provider_carries_subscription_and_region_and_the_keys_for_signing_in() -> None:
    program = run(semester(), config={"azure-native:useOidc": "true", "azure-native:metadataHost": "localhost:1234"})
    provider = program["azure"]
    assert (provider["subscriptionId"], provider["location"]) == (SUBSCRIPTION, "westus2")
    assert provider["useOidc"] in {True, "true"} and provider["metadataHost"] == "localhost:1234"
    urn = program.resources["azure"].urn
    assert {entry.request.provider.rpartition("::")[0] for entry in program.azure()} == {urn}


def test_an_ambient_subscription_that_contradicts_the_stack_file_is_refused() -> None:
    with pytest.raises(SemesterError, match="azure-native:subscriptionId"):
        run(semester(), config={"azure-native:subscriptionId": "00000000-0000-4000-8000-00000000ffff"})
