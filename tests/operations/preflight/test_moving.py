"""Lines about a failover that may come: the name's provider and the cloud site's switch, asked before."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.preflight import moving
from sandbox.azure.emulator import ids
from tests.operations.cloud.azure_rig import STACK, VM, cloud, semester

pytestmark = pytest.mark.unit


def test_a_name_that_can_be_switched_and_a_site_that_can_be_stopped_pass() -> None:
    with cloud() as (url, _arm):
        name, fencing = moving.name(semester(), STACK, url), moving.fencing(semester(), STACK, url)
    assert name.state == "pass" and "leads to nothing and can be switched at Azure DNS" in name.said
    assert fencing.state == "pass" and f"semesterhub-{STACK}-hub in the Azure subscription" in fencing.said


def test_before_the_first_up_there_is_nothing_to_stop() -> None:
    with cloud() as (url, arm):
        arm.delete(ids.parse(VM))
        arm.settle()
        assert moving.fencing(semester(), STACK, url).state == "unknown"


def test_what_would_stop_a_failover_fails_with_its_sentence() -> None:
    nowhere = semester()
    assert nowhere.fallback is not None and nowhere.fallback.dns is not None
    dns = nowhere.fallback.dns.model_copy(update={"resource_group": "nowhere"})
    nowhere = semester(fallback=nowhere.fallback.model_copy(update={"dns": dns}))
    with cloud() as (url, _arm):
        found = moving.name(nowhere, STACK, url)
    assert found.state == "fail" and "has no zone example.edu" in found.said and "dns.show" in found.remedy
    found = moving.fencing(semester(account=None), STACK)
    assert found.state == "fail" and "semesterhub:account is missing" in found.said


def test_a_local_name_server_that_is_not_up_yet_keeps_nobody_from_up(repository: Path, tmp_path: Path) -> None:
    from components.semester import load_stack_file

    text = (repository / "stacks" / "Pulumi.demo.yaml").read_text("utf-8")
    gone = tmp_path / "gone.key"
    text = text.replace(".semesterhub/fallback/demo/dns.key", str(gone)).replace("port: 8053", "port: 1")
    path = tmp_path / "Pulumi.demo.yaml"
    path.write_text(text, "utf-8")
    found = moving.name(load_stack_file(path), "demo")
    assert found.state == "unknown" and "fallback.up" in found.remedy
