"""The settings file: what is refused, and with which words."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hubconfig.settings import SettingsError, json_schema, load_settings, main, parse_settings, read_secret
from tests.hubconfig.fakes import course, make_settings, raw_settings

pytestmark = pytest.mark.unit

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("unknown key", {"semestre": "x"}, "semestre: there is no such key"),
    ("no courses", {"courses": []}, "courses"),
    ("floating tag", {"courses": [course(image="student:latest")]}, "pinned by digest"),
    ("short digest", {"courses": [course(image="student@sha256:abc")]}, "pinned by digest"),
    ("guarantee above limit", {"courses": [course(memory_guarantee_mib=4096)]}, "memory_guarantee_mib (4096)"),
    ("cpu guarantee above limit", {"courses": [course(cpu_guarantee=3)]}, "cpu_guarantee (3)"),
    ("no cpu", {"courses": [course(cpu_limit=0)]}, "cpu_limit = 0"),
    ("memory as text", {"courses": [course(memory_limit_mib="1G")]}, "memory_limit_mib = '1G'"),
    ("course id", {"courses": [course(id="Data 8")]}, "courses.0.id = 'Data 8'"),
    ("two equal courses", {"courses": [course(), course()]}, "rename course 'data8'"),
    (
        "groups that meet",
        {"courses": [course(), course(id="data8-instructors")]},
        "course-data8-instructors",
    ),
    ("plain http", {"hub_url": "http://hub.example.edu"}, "sign-in cookies need TLS"),
    ("url with a path", {"hub_url": "https://hub.example.edu/jupyter"}, "without a path"),
    ("no address", {"hub_ip": "hub"}, "must be an IP address"),
    ("any address", {"hub_ip": "0.0.0.0"}, "student servers can call"),
    ("relative homes", {"homes_path": "homes"}, "homes_path"),
    ("homes going up", {"homes_path": "/srv/../etc"}, "without '..'"),
    ("other orchestrator", {"orchestrator": "nomad"}, "orchestrator = 'nomad'"),
    ("newer schema", {"schema_version": 2}, "schema_version = 2"),
    ("queue of no seconds", {"admission": {"queue_timeout_s": 0}}, "admission.queue_timeout_s = 0"),
    ("negative starts", {"admission": {"concurrent_starts": -1}}, "admission.concurrent_starts = -1"),
    ("culls at once", {"culling": {"idle_timeout_s": 1}}, "culling.idle_timeout_s = 1"),
    ("unknown sign-in", {"authenticator": {"kind": "ldap"}}, "authenticator.kind = 'ldap'"),
    ("sign-in that breaks", {"authenticator": {"kind": "native"}}, "does not work with JupyterHub 6"),
    ("google without client", {"authenticator": {"kind": "google"}}, "needs options.client_id"),
    (
        "secret in options",
        {"authenticator": {"kind": "github", "options": {"client_id": "x", "client_secret": "y"}}},
        "looks like a secret",
    ),
    ("option of nobody", {"authenticator": {"kind": "demo", "options": {"colour": "red"}}}, "options.colour"),
    ("options as list", {"authenticator": {"options": []}}, "authenticator.options"),
]


@pytest.mark.parametrize(("changes", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_wrong_settings_are_refused_with_key_and_remedy(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(raw_settings(**changes), source="settings.json")
    message = str(refused.value)
    assert words in message
    assert message.startswith("settings.json: ")
    assert "\n" not in message


def test_every_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r"hub_url: missing.*hub_ip: missing"):
        parse_settings({"semester": "x", "title": "x", "courses": [course()]})


def test_settings_are_frozen() -> None:
    settings = parse_settings(raw_settings())
    with pytest.raises(ValueError, match="frozen"):
        settings.semester = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("text", "words"), [("", "not JSON"), ("{", "line 1"), ("[]", "valid dictionary")])
def test_a_broken_file_is_one_message(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(file)
    assert words in str(refused.value)
    assert str(file) in str(refused.value)


def test_the_path_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(raw_settings()))
    monkeypatch.setenv("SEMESTERHUB_SETTINGS", str(file))
    assert load_settings().semester == "demo"
    monkeypatch.setenv("SEMESTERHUB_SETTINGS", str(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match="no such file"):
        load_settings()


def test_secrets_are_files_without_their_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMESTERHUB_SECRETS_DIR", str(tmp_path))
    (tmp_path / "proxy_token").write_text("abc\n")
    (tmp_path / "crypt_key").write_text("\n")
    assert read_secret("proxy_token") == "abc"
    for name in ("crypt_key", "cookie_secret"):
        with pytest.raises(SettingsError, match=f"'{name}' is missing or empty"):
            read_secret(name)
    assert read_secret("cookie_secret", optional=True) == ""
    with pytest.raises(SettingsError, match="secret name"):
        read_secret("../proxy_token")


def test_the_schema_accepts_what_the_model_accepts_and_refuses_unknown_keys() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(raw_settings())
    assert not validator.is_valid(raw_settings(semestre="x"))


def test_the_command_line_checks_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(raw_settings(hub_ip="nonsense")))
    assert main(["check", str(file)]) == 1
    assert "hub_ip = 'nonsense'" in capsys.readouterr().err
    file.write_text(json.dumps(raw_settings()))
    assert main(["check", str(file)]) == 0
    assert main([]) == 2


CLUSTER = {
    "cloud": "aws",
    "api_url": "https://api.example",
    "ca_certificate": "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n",
    "cluster_name": "semesterhub-fa26-cluster",
    "region": "us-west-2",
    "homes": {"driver": "efs.csi.aws.com", "volume_handle": "fs-1::fsap-1"},
    "cluster_cidr": "10.26.0.0/16",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orchestrator": "kubernetes"}, "belongs to orchestrator 'kubernetes'"),
        ({"kubernetes": CLUSTER}, "belongs to orchestrator 'kubernetes'"),
        ({"orchestrator": "kubernetes", "kubernetes": {**CLUSTER, "region": ""}}, "region: missing"),
        ({"orchestrator": "kubernetes", "kubernetes": {**CLUSTER, "ca_certificate": ""}}, "ca_certificate"),
        ({"orchestrator": "kubernetes", "kubernetes": {**CLUSTER, "cluster_cidr": "10.26"}}, "must be a network"),
    ],
)
def test_a_cluster_is_described_whole_or_not_at_all(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_settings(**changes)


def test_a_certificate_may_come_as_eks_gives_it() -> None:
    packed = base64.b64encode(CLUSTER["ca_certificate"].encode()).decode()  # type: ignore[attr-defined]
    made = make_settings(orchestrator="kubernetes", kubernetes={**CLUSTER, "ca_certificate": packed}).kubernetes
    assert made is not None and made.certificate_pem == CLUSTER["ca_certificate"]
    with pytest.raises(SettingsError, match="neither PEM nor base64"):
        made.model_copy(update={"ca_certificate": "eA=="}).certificate_pem  # noqa: B018
