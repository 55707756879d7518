"""The typed semester: both ways to read it agree, secrets stay out, what is fixed is known."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.semester import (
    Semester,
    SemesterError,
    authenticator_options,
    fixed,
    from_pulumi_config,
    immutable_changes,
    load_stack_file,
    moved,
    secret_paths,
)

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent
LOCAL, CLOUD = HERE / "stacks" / "local.yaml", HERE / "stacks" / "cloud.yaml"


def as_pulumi_hands_over(file: Path, secrets: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """PULUMI_CONFIG and PULUMI_CONFIG_SECRET_KEYS as Pulumi 3.250 sets them: text, objects as JSON, secrets decrypted."""
    values: dict[str, str] = {}
    secret_keys = []
    for name, value in yaml.safe_load(file.read_text(encoding="utf-8"))["config"].items():
        text = json.dumps(value, default=str)
        if '"secure"' in text:
            secret_keys.append(name)
        for encrypted, plain in secrets.items():
            text = text.replace(json.dumps({"secure": encrypted}), json.dumps(plain))
        values[name] = value if isinstance(value, str) else text
    return values, secret_keys


@pytest.fixture
def pulumi_config(monkeypatch: pytest.MonkeyPatch) -> Any:
    from pulumi.runtime import config

    def use(values: dict[str, str], secret_keys: list[str]) -> None:
        config.set_all_config({}, [])
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(values))
        monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(secret_keys))

    yield use
    config.set_all_config({}, [])


@pytest.mark.parametrize("file", [LOCAL, CLOUD], ids=["local", "cloud"])
def test_file_and_pulumi_configuration_give_the_same_semester(file: Path, pulumi_config: Any) -> None:
    pulumi_config(*as_pulumi_hands_over(file, {"v1:AAAA:BBBB": "hunter2", "v1:CCCC:DDDD": "hunter3"}))
    semester = from_pulumi_config()
    assert semester == load_stack_file(file)
    assert "hunter" not in repr(semester) + semester.model_dump_json()


def test_the_demo_reads_the_same_both_ways(repository: Path, pulumi_config: Any) -> None:
    file = repository / "stacks" / "Pulumi.demo.yaml"
    pulumi_config(*as_pulumi_hands_over(file, {}))
    assert from_pulumi_config() == load_stack_file(file)


def test_configuration_set_in_the_running_program_counts_too(pulumi_config: Any) -> None:
    from pulumi.runtime import config

    pulumi_config({}, [])
    config.set_all_config(*as_pulumi_hands_over(LOCAL, {}))
    assert from_pulumi_config() == load_stack_file(LOCAL)


def test_a_secret_that_pulumi_does_not_know_as_secret_is_refused_without_showing_it(pulumi_config: Any) -> None:
    values, _ = as_pulumi_hands_over(CLOUD, {"v1:AAAA:BBBB": "hunter2", "v1:CCCC:DDDD": "hunter3"})
    pulumi_config(values, [])
    with pytest.raises(SemesterError, match="client_secret is not encrypted") as refused:
        from_pulumi_config()
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("text", ["2026-08-26", "2026-08-26T00:00:00Z", "2026-08-26 00:00:00 +0000 UTC"])
def test_an_unquoted_day_is_read_in_every_form_that_pulumi_makes_of_it(text: str, pulumi_config: Any) -> None:
    values, secret_keys = as_pulumi_hands_over(LOCAL, {})
    values["semesterhub:term"] = json.dumps({"starts": text, "ends": "2026-12-18", "timezone": "UTC"})
    pulumi_config(values, secret_keys)
    assert from_pulumi_config().term.starts == date(2026, 8, 26)


def test_a_key_without_a_value_is_a_key_left_out(pulumi_config: Any, tmp_path: Path) -> None:
    values, secret_keys = as_pulumi_hands_over(LOCAL, {})
    pulumi_config({**values, "semesterhub:budget": "", "semesterhub:region": ""}, secret_keys)
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(
        LOCAL.read_text(encoding="utf-8") + "  semesterhub:budget:\n  semesterhub:region: null\n", encoding="utf-8"
    )
    assert from_pulumi_config() == load_stack_file(file) == load_stack_file(LOCAL)


def test_yaml_is_read_as_pulumi_reads_it(tmp_path: Path) -> None:
    """Unquoted times are text, not base-60 numbers; days are days; `on` is text."""
    text = LOCAL.read_text(encoding="utf-8")
    text = text.replace('starts: "10:00", ends: "11:00"', "starts: 10:00, ends: 11:00").replace(
        "title: Test", "title: on"
    )
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text.replace('"2026-08-26"', "2026-08-26"), encoding="utf-8")
    semester = load_stack_file(file)
    assert semester.title == "on"
    assert semester.courses[0].meetings == load_stack_file(LOCAL).courses[0].meetings
    assert semester.term.starts == date(2026, 8, 26)


def test_other_namespaces_and_pulumis_own_keys_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    more = "  aws:region: us-west-2\n  azure-native:location: westus2\n  kubernetes:namespace: hub\n"
    file.write_text(
        "secretsprovider: awskms://alias/x\nencryptedkey: abc\n" + LOCAL.read_text(encoding="utf-8") + more,
        encoding="utf-8",
    )
    assert load_stack_file(file) == load_stack_file(LOCAL)


def test_reading_a_semester_does_not_import_pulumi(repository: Path) -> None:
    program = (
        "import sys; from components.semester import load_stack_file; from components.plan import plan; "
        "plan(load_stack_file('stacks/Pulumi.demo.yaml')); "
        "print([name for name in sys.modules if name.split('.')[0] in ('pulumi', 'grpc')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_semester_cannot_be_changed_after_reading() -> None:
    semester = load_stack_file(LOCAL)
    with pytest.raises(ValidationError):
        semester.courses[0].students = 60  # type: ignore[misc]


def test_secret_paths_name_what_components_read_from_pulumi() -> None:
    assert secret_paths(load_stack_file(CLOUD)) == ("authenticator.client_secret", "fallback.dns.key_secret")
    assert secret_paths(load_stack_file(LOCAL)) == ()


def test_a_dns_key_in_a_file_is_no_secret_of_the_stack(tmp_path: Path) -> None:
    text = CLOUD.read_text("utf-8").replace("key_secret:\n        secure: v1:CCCC:DDDD", "key_file: ~/dns.key")
    (tmp_path / "Pulumi.x.yaml").write_text(text, "utf-8")
    assert secret_paths(load_stack_file(tmp_path / "Pulumi.x.yaml")) == ("authenticator.client_secret",)


def test_authenticator_options_are_what_the_hub_accepts() -> None:
    from hubconfig.settings import AuthenticatorSettings

    semester = load_stack_file(CLOUD)
    options = authenticator_options(semester.authenticator)
    assert options == {
        "client_id": "123-abc.apps.googleusercontent.com",
        "hosted_domain": ["example.edu"],
        "login_service": "Google",
    }
    AuthenticatorSettings(kind=semester.authenticator.kind, options=options)


def changed(semester: Semester, **parts: dict[str, Any]) -> Semester:
    return semester.model_copy(
        update={
            name: getattr(semester, name).model_copy(update=value) if isinstance(value, dict) else value
            for name, value in parts.items()
        }
    )


def test_a_fixed_key_is_named_with_both_values() -> None:
    old = load_stack_file(CLOUD)
    new = changed(old, region="us-east-1", network={"cidr": IPv4Network("10.30.0.0/16")})
    region, cidr = immutable_changes(old, new)
    assert (region.key, region.old, region.new) == ("semesterhub:region", "us-west-2", "us-east-1")
    assert (cidr.key, cidr.old, cidr.new) == ("semesterhub:network.cidr", "10.20.0.0/16", "10.30.0.0/16")
    assert str(region).startswith("semesterhub:region cannot change from us-west-2 to us-east-1: ")


def test_what_is_deployed_says_itself_what_may_not_change() -> None:
    old = load_stack_file(CLOUD)
    deployed = fixed(old)
    assert {"semesterhub:cloud", "semesterhub:region", "semesterhub:network.cidr"} <= set(deployed)
    new = changed(old, region="us-east-1", network={"cidr": IPv4Network("10.30.0.0/16")}, title="Other")
    assert moved(deployed, new) == immutable_changes(old, new)
    assert moved(deployed, old) == () and moved({}, new) == ()


def test_what_may_change_is_not_named() -> None:
    old = load_stack_file(CLOUD)
    course = old.courses[0].model_copy(update={"students": 600})
    new = changed(old, title="Other", courses=(course,), budget=None, homes={"size_gib": 5.0})
    assert immutable_changes(old, new) == ()


def test_no_two_committed_local_stacks_collide(repository: Path) -> None:
    files = sorted((repository / "stacks").glob("Pulumi.*.yaml"))
    assert files
    local = {file.name: semester for file in files if (semester := load_stack_file(file)).cloud == "local"}
    for (name, one), (other_name, other) in combinations(local.items(), 2):
        pair = f"{name} and {other_name}"
        assert not one.network.cidr.overlaps(other.network.cidr), pair
        ports = [one.local.https_port, one.local.registry_port, other.local.https_port, other.local.registry_port]
        assert len(set(ports)) == 4, pair
        assert one.domain != other.domain, pair
