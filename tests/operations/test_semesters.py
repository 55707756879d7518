"""semester.new: a file of its own name, network and ports, made without losing what the original says."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.semester import SemesterError, load_stack_file
from operations.errors import UserError
from operations.semesters import new_semester

pytestmark = pytest.mark.unit

CASES = Path(__file__).parent.parent / "components" / "stacks"


@pytest.fixture
def stacks(tmp_path: Path, repository: Path) -> Path:
    for name, file in {
        "demo": repository / "stacks" / "Pulumi.demo.yaml",
        "fa16": CASES / "cloud.yaml",
    }.items():
        (tmp_path / f"Pulumi.{name}.yaml").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def test_a_new_local_semester_collides_with_no_other(stacks: Path) -> None:
    for name in ("one", "two", "three"):
        new_semester(name, stacks_dir=stacks)
    made = [load_stack_file(stacks / f"Pulumi.{name}.yaml") for name in ("demo", "one", "two", "three")]
    networks = [semester.network.cidr for semester in made]
    assert not any(a.overlaps(b) for index, a in enumerate(networks) for b in networks[index + 1 :])
    ports = [port for semester in made for port in (semester.local.https_port, semester.local.registry_port)]
    assert len(set(ports)) == 8
    assert [semester.domain for semester in made[1:]] == ["one.localhost", "two.localhost", "three.localhost"]
    fallbacks = [semester.fallback for semester in made if semester.fallback]
    servers = [fallback.dns for fallback in fallbacks if fallback.dns and fallback.dns.provider == "rfc2136"]
    assert [f.host for f in fallbacks] == [str(next(network.hosts())) for network in networks]
    assert len({f.port for f in fallbacks} | {d.port for d in servers}) == 8
    assert [d.zone for d in servers] == [semester.domain for semester in made]
    assert len({f.ssh_key for f in fallbacks} | {d.key_file for d in servers}) == 8


def test_comments_and_everything_else_stay(stacks: Path) -> None:
    made = new_semester("fa26", title='Data 8: "Fall" 2026', stacks_dir=stacks)
    old, new = (load_stack_file(stacks / f"Pulumi.{name}.yaml") for name in ("demo", "fa26"))
    assert new.title == 'Data 8: "Fall" 2026'
    assert (new.courses, new.nodes, new.term) == (old.courses, old.nodes, old.term)
    text = made.path.read_text(encoding="utf-8")
    assert "# a folder of hubconfig/images" in text
    assert "The demo semester" not in text and "demo.localhost" not in text
    assert f"https://fa26.localhost:{made.https_port}" in text


def test_a_cloud_semester_gets_a_domain_and_a_network_and_keeps_its_secrets(stacks: Path) -> None:
    made = new_semester("fa17", like="fa16", stacks_dir=stacks)
    new = load_stack_file(made.path)
    assert (new.domain, made.https_port) == ("fa17.hub.example.edu", None)
    assert not new.network.cidr.overlaps(load_stack_file(stacks / "Pulumi.fa16.yaml").network.cidr)
    text = made.path.read_text(encoding="utf-8")
    assert "secure: v1:AAAA:BBBB" in text and "encryptionsalt: v1:abc=:v1:def:ghi==" in text


def test_ports_are_added_where_the_original_names_none(stacks: Path) -> None:
    demo = stacks / "Pulumi.demo.yaml"
    text = demo.read_text(encoding="utf-8")
    ports, fallback = text.index("  semesterhub:local:"), text.index("  semesterhub:fallback:")
    demo.write_text(text[:ports] + text[fallback:], encoding="utf-8")
    made = new_semester("fa26", stacks_dir=stacks)
    new = load_stack_file(made.path)
    assert (new.local.https_port, new.local.registry_port) == (made.https_port, made.registry_port) == (8444, 5444)


@pytest.mark.parametrize("name", ["", "FA26", "2026", "fa_26", "fa26-", "../x", "a" * 21, "fa 26"])
def test_a_name_that_cannot_be_a_host_name_is_refused(name: str, stacks: Path) -> None:
    before = sorted(stacks.iterdir())
    with pytest.raises(UserError, match="Choose a name such as fa26"):
        new_semester(name, stacks_dir=stacks)
    assert sorted(stacks.iterdir()) == before


def test_an_existing_semester_is_never_overwritten(stacks: Path) -> None:
    before = (stacks / "Pulumi.fa16.yaml").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        new_semester("fa16", stacks_dir=stacks)
    assert (stacks / "Pulumi.fa16.yaml").read_bytes() == before


def test_an_unknown_original_names_those_there_are(stacks: Path) -> None:
    with pytest.raises(UserError, match="There are: demo, fa16"):
        new_semester("fa26", like="dmeo", stacks_dir=stacks)


def test_nothing_is_written_when_the_original_is_wrong(stacks: Path) -> None:
    (stacks / "Pulumi.bad.yaml").write_text("config:\n  semesterhub:cloud: gcp\n", encoding="utf-8")
    before = sorted(stacks.iterdir())
    with pytest.raises(SemesterError, match=r"Pulumi\.bad\.yaml"):
        new_semester("fa26", like="bad", stacks_dir=stacks)
    with pytest.raises(SemesterError):
        new_semester("fa26", domain="not a domain", stacks_dir=stacks)
    assert sorted(stacks.iterdir()) == before


def test_a_broken_file_of_somebody_else_does_not_matter(stacks: Path) -> None:
    (stacks / "Pulumi.bad.yaml").write_text("config: [", encoding="utf-8")
    new_semester("fa26", stacks_dir=stacks)
