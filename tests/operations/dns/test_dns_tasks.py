"""What `dns.show` and `dns.lower-ttl` tell, and the choice of the provider."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from components.semester import Semester, load_stack_file
from operations.dns import DnsError, Seen, Switched, open_dns, tasks
from tests.operations.dns.campus import Campus, key_file, serving

pytestmark = pytest.mark.unit


@dataclass
class Fake:
    """A provider that says what the test wants."""

    seen: Seen = field(default_factory=lambda: Seen(("192.0.2.1",), 3600))
    problem: str = ""
    behind: tuple[str, ...] = ()
    name: str = "hub.example.edu"
    where: str = "Route 53"
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    def look(self) -> Seen:
        return self.seen

    def switch(self, addresses: Iterable[str], ttl_s: int) -> Switched:
        self.asked.append((tuple(addresses), ttl_s))
        changed = self.seen.ttl_s != ttl_s
        self.seen = Seen(tuple(addresses), ttl_s)
        return Switched(self.seen, changed, 0.1, self.behind)

    def check(self) -> str:
        return self.problem


def said(fake: Fake, ttl_s: int | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200)
    if ttl_s is None:
        tasks.show("fa16", console, fake)
    else:
        tasks.lower_ttl("fa16", ttl_s, console, fake)
    return out.getvalue()


def test_show_says_where_the_name_leads_and_whether_it_could_be_switched() -> None:
    assert "hub.example.edu leads to 192.0.2.1 for 3600 s (Route 53)" in said(Fake())
    assert "it cannot be switched: the key is wrong" in said(Fake(problem="the key is wrong"))
    assert tasks.show("fa16", Console(file=io.StringIO()), Fake(problem="x")) == 1


def test_a_lower_lifetime_keeps_the_addresses_and_says_how_long_the_old_one_holds() -> None:
    fake = Fake(behind=("the DNS server ns2.example.edu",))
    text = said(fake, 30)
    assert fake.asked == [(("192.0.2.1",), 30)]
    assert "resolvers may go on for 3600 s" in text and "ns2.example.edu does not say so yet" in text
    assert "resolvers may go on" not in said(fake, 30)  # it was so already


def test_without_a_number_the_stack_file_says_it() -> None:
    fake = Fake()
    said(fake, 0)
    assert fake.asked[0][1] == 60


def test_a_name_that_leads_nowhere_has_no_lifetime_to_lower() -> None:
    with pytest.raises(DnsError, match="leads nowhere at Route 53"):
        said(Fake(seen=Seen((), None)), 30)


def stack(repository: Path, name: str) -> Semester:
    return load_stack_file(repository / "stacks" / f"Pulumi.{name}.yaml")


def test_the_stack_file_chooses_the_provider(repository: Path) -> None:
    assert open_dns(stack(repository, "fa16"), "fa16").where == "Route 53"
    assert open_dns(stack(repository, "sp16"), "sp16").where == "Azure DNS"


def test_without_a_provider_the_name_is_switched_by_hand(repository: Path) -> None:
    semester = stack(repository, "sp16")
    assert semester.fallback is not None
    bare = semester.model_copy(update={"fallback": semester.fallback.model_copy(update={"dns": None})})
    with pytest.raises(DnsError, match=r"names no provider for hub-sp16\.example\.edu"):
        open_dns(bare, "sp16")


def test_a_campus_server_is_asked_with_the_key_of_the_file(repository: Path, tmp_path: Path) -> None:
    text = (repository / "tests" / "components" / "stacks" / "cloud.yaml").read_text("utf-8")
    with serving(Campus()) as campus:
        campus.set("A", "192.0.2.1")
        given = f"port: {campus.port}\n      key_file: {key_file(tmp_path)}"
        text = text.replace("key_secret:\n        secure: v1:CCCC:DDDD", given).replace("ns1.example.edu", "127.0.0.1")
        path = tmp_path / "Pulumi.x.yaml"
        path.write_text(text, "utf-8")
        dns = open_dns(load_stack_file(path), "x")
        assert dns.check() == "" and dns.switch(["192.0.2.2"], 60).seen == dns.look()
        (tmp_path / "dns.key").unlink()
        assert "No such file" in dns.check()  # read when it is needed, said in a sentence
