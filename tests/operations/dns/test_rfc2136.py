"""The hub's name on a campus DNS server: switched as one transaction, read back; each refusal one sentence."""

from __future__ import annotations

import base64
import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from operations.dns import DnsError, Seen
from operations.dns.rfc2136 import Rfc2136
from operations.dns.tsig import TsigKey, from_file
from operations.dns.wire import Server
from operations.patience import Patience
from tests.operations.dns.campus import KEY_NAME, NAME, SECRET, ZONE, Campus, key_file, late, serving

pytestmark = pytest.mark.unit

CLOUD, FALLBACK = "192.0.2.1", "192.0.2.2"
HASTY = Patience(1.5, first_s=0.02, most_s=0.1)


@pytest.fixture
def campus() -> Iterator[Campus]:
    with serving(Campus()) as server:
        server.set("A", CLOUD)
        yield server


def name_at(campus: Campus, secret: str = SECRET, key_name: str = KEY_NAME, algorithm: str = "hmac-sha256") -> Rfc2136:
    key = TsigKey(key_name, algorithm, base64.b64decode(secret))
    server = Server("127.0.0.1", campus.port, timeout_s=0.4)
    return Rfc2136(NAME, ZONE, server, lambda: key, patience=HASTY, brief=HASTY, follow=HASTY, others=list)


def test_a_name_is_looked_at_and_switched(campus: Campus) -> None:
    it = name_at(campus)
    assert it.look() == Seen((CLOUD,), 60)
    done = it.switch([FALLBACK], 30)
    assert done.changed and done.seen == Seen((FALLBACK,), 30) and it.look() == done.seen
    assert campus.get("A") == {FALLBACK}


def test_a_switch_that_is_done_already_changes_nothing(campus: Campus) -> None:
    it = name_at(campus)
    it.switch([FALLBACK], 60)
    assert not it.switch([FALLBACK], 60).changed and campus.updates == 1


def test_only_the_lifetime_changes_when_it_is_lowered_in_advance(campus: Campus) -> None:
    assert name_at(campus).switch([CLOUD], 5).seen == Seen((CLOUD,), 5)


def test_a_name_that_is_not_there_yet_is_made(campus: Campus) -> None:
    campus.records.clear()
    it = name_at(campus)
    assert it.look() == Seen((), None)
    assert it.switch([FALLBACK], 60).seen.addresses == (FALLBACK,)


def test_addresses_of_both_families_and_host_names_replace_each_other(campus: Campus) -> None:
    it = name_at(campus)
    assert it.switch(["2001:db8::2", FALLBACK], 60).seen.addresses == (FALLBACK, "2001:db8::2")
    assert it.switch(["hub0.example.org"], 60).seen.addresses == ("hub0.example.org",)
    assert campus.get("A") == campus.get("AAAA") == set()
    assert it.switch([CLOUD], 60).seen.addresses == (CLOUD,) and campus.get("CNAME") == set()


def test_other_records_of_the_name_stay(campus: Campus) -> None:
    campus.set("TXT", '"campus"')
    name_at(campus).switch([FALLBACK], 60)
    assert campus.get("TXT") == {'"campus"'}


def test_a_host_name_beside_other_records_is_refused_before_the_addresses_go(campus: Campus) -> None:
    campus.set("TXT", '"campus"')
    with pytest.raises(DnsError, match=r"has other records .* \(TXT\), and a host name stands alone"):
        name_at(campus).switch(["hub0.example.org"], 60)
    assert campus.get("A") == {CLOUD}


@pytest.mark.parametrize(
    ("addresses", "ttl_s", "says"),
    [
        ([], 60, "give an address"),
        (["hub0.example.edu", CLOUD], 60, "either addresses, or one host name"),
        (["hub0.example.edu", "hub1.example.edu"], 60, "either addresses, or one host name"),
        ([FALLBACK], 0, "allowed are 1 to 86400"),
    ],
)
def test_what_no_name_can_say_is_refused_before_the_server_is_asked(
    campus: Campus, addresses: list[str], ttl_s: int, says: str
) -> None:
    with pytest.raises(DnsError, match=says):
        name_at(campus).switch(addresses, ttl_s)
    assert campus.updates == 0


def test_the_zone_itself_leads_to_no_host_name(campus: Campus) -> None:
    it = dataclasses.replace(name_at(campus), name=ZONE)
    with pytest.raises(DnsError, match="the zone itself"):
        it.switch(["hub0.example.org"], 60)


def test_a_check_finds_nothing_wrong_and_changes_nothing(campus: Campus) -> None:
    before = dict(campus.records)
    assert name_at(campus).check() == "" and campus.records == before and campus.updates == 0


def refusals(it: Rfc2136, *words: str) -> None:
    """Check and switch say the same, in one line."""
    checked = it.check()
    with pytest.raises(DnsError) as caught:
        it.switch([FALLBACK], 60)
    for said in (checked, str(caught.value)):
        assert "\n" not in said
        for word in words:
            assert word in said, said


def test_a_wrong_secret_is_one_sentence(campus: Campus) -> None:
    other = base64.b64encode(b"the secret of somebody else").decode()
    refusals(name_at(campus, secret=other), "another secret for the TSIG key semesterhub", "key_file or key_secret")
    assert campus.get("A") == {CLOUD}


def test_an_unknown_key_name_is_one_sentence(campus: Campus) -> None:
    refusals(name_at(campus, key_name="nobody"), "knows no TSIG key named nobody", "key_name")


def test_a_zone_that_is_not_there_is_one_sentence(campus: Campus) -> None:
    it = dataclasses.replace(name_at(campus), name="hub.example.org", zone="example.org")
    refusals(it, "does not hold", "example.org", "semesterhub:fallback.dns.server or zone")


def test_a_key_without_the_right_to_the_name_is_one_sentence(campus: Campus) -> None:
    campus.rights = {"other.example.edu"}
    refusals(
        name_at(campus),
        "refuses a change of hub.example.edu",
        "update-policy { grant semesterhub name hub.example.edu.",
    )


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        refusals(name_at(Campus(port=port)), f"the DNS server 127.0.0.1 port {port} does not answer", "firewall")


def test_a_host_that_does_not_exist_is_one_sentence(campus: Campus) -> None:
    it = dataclasses.replace(name_at(campus), server=Server("ns1.campus.invalid", 53))
    refusals(it, "there is no host ns1.campus.invalid", "semesterhub:fallback.dns.server")


def test_a_server_that_takes_no_updates_is_told_from_one_that_refuses(campus: Campus) -> None:
    it = name_at(campus)
    real = campus.answer

    def no_updates(wire: bytes) -> bytes | None:
        campus.rcode = (
            dns.rcode.NOTIMP if dns.message.from_wire(wire, keyring=False).opcode() == dns.opcode.UPDATE else None
        )
        return real(wire)

    campus.answer = no_updates  # type: ignore[method-assign]
    refusals(it, "takes no dynamic updates")


def test_a_secondary_is_not_the_server_to_write_to(campus: Campus) -> None:
    real = campus.answer

    def secondary(wire: bytes) -> bytes | None:
        campus.rcode = (
            dns.rcode.NOTAUTH if dns.message.from_wire(wire, keyring=False).opcode() == dns.opcode.UPDATE else None
        )
        return real(wire)

    campus.answer = secondary  # type: ignore[method-assign]
    refusals(name_at(campus), "not the primary server of the zone example.edu")


def test_an_answer_that_is_late_is_waited_for(campus: Campus) -> None:
    campus.mood = late(0.6, 3)  # longer than one question may take
    patient = dataclasses.replace(name_at(campus), patience=Patience(10, first_s=0.02, most_s=0.1))
    assert patient.switch([FALLBACK], 60).seen.addresses == (FALLBACK,)


def test_a_lost_answer_to_a_change_that_was_made_does_no_harm(campus: Campus) -> None:
    real, lost = campus.answer, []

    def losing(wire: bytes) -> bytes | None:
        answer = real(wire)
        if dns.message.from_wire(wire, keyring=False).opcode() == dns.opcode.UPDATE and not lost:
            lost.append(wire)
            return None
        return answer

    campus.answer = losing  # type: ignore[method-assign]
    assert name_at(campus).switch([FALLBACK], 60).seen.addresses == (FALLBACK,)
    assert lost and campus.updates == 1


def test_a_server_that_says_done_and_did_nothing_is_refused(campus: Campus) -> None:
    campus.lies = True
    with pytest.raises(DnsError, match=f"it still answers {CLOUD} for 60 s instead of {FALLBACK} for 60 s"):
        name_at(campus).switch([FALLBACK], 60)


def test_an_answer_that_is_not_signed_is_not_believed(campus: Campus) -> None:
    campus.signs = False
    refusals(name_at(campus), "is not signed")


def test_somebody_who_changes_the_name_in_between_is_not_overwritten_unseen(campus: Campus) -> None:
    """The first update meets another admin's change: its prerequisite does not hold, so the name is looked at again."""
    seen: list[int] = []

    def meddling(message: dns.message.Message) -> bool:
        if message.opcode() == dns.opcode.UPDATE:
            if not seen:
                campus.set("AAAA", "2001:db8::99")
            seen.append(1)
        return True

    campus.mood = meddling
    name_at(campus).switch([FALLBACK], 60)
    assert len(seen) == 2 and campus.get("A") == {FALLBACK} and campus.get("AAAA") == set()


def test_two_admins_at_once_end_with_one_of_both_answers_and_no_mixture(campus: Campus) -> None:
    results: list[object] = []

    def switch(address: str) -> None:
        try:
            results.append(name_at(campus).switch([address], 60))
        except DnsError as error:
            results.append(error)

    threads = [threading.Thread(target=switch, args=(address,)) for address in ("192.0.2.3", "192.0.2.4")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2 and campus.get("A") in ({"192.0.2.3"}, {"192.0.2.4"})


def test_a_secondary_that_does_not_follow_is_told(campus: Campus) -> None:
    with serving(Campus()) as secondary:
        secondary.set("A", CLOUD)
        other = Server("127.0.0.1", secondary.port, timeout_s=0.2)
        done = dataclasses.replace(name_at(campus), others=lambda: [other]).switch([FALLBACK], 60)
        assert done.behind == (f"the DNS server 127.0.0.1 port {secondary.port}",)
        secondary.set("A", FALLBACK)
        assert dataclasses.replace(name_at(campus), others=lambda: [other]).switch([FALLBACK], 60).behind == ()


def test_the_key_is_in_no_message_and_no_description(campus: Campus) -> None:
    key = TsigKey(KEY_NAME, "hmac-sha256", base64.b64decode(SECRET))
    assert "secret" not in repr(key) and SECRET not in repr(name_at(campus))


def test_a_key_file_is_read_as_the_server_wrote_it(tmp_path: Path) -> None:
    key = from_file(key_file(tmp_path), KEY_NAME, "hmac-sha256")
    assert base64.b64encode(key.secret).decode() == SECRET
    noted = key_file(tmp_path)
    noted.write_text("// of the name server\n" + noted.read_text("utf-8") + "# end\n", "utf-8")
    assert from_file(noted, KEY_NAME.upper(), "hmac-sha256").secret == key.secret


def test_a_key_file_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    cases = [
        (path.with_name("gone.key"), KEY_NAME, "hmac-sha256", "No such file"),
        (path, "other", "hmac-sha256", "holds semesterhub, not other"),
        (path, KEY_NAME, "hmac-sha512", "is for hmac-sha256, the stack file says hmac-sha512"),
    ]
    for file, name, algorithm, says in cases:
        with pytest.raises(DnsError, match=says):
            from_file(file, name, algorithm)
    key_file(tmp_path, secret="notbase64=!")
    with pytest.raises(DnsError, match="no TSIG key"):
        from_file(path, KEY_NAME, "hmac-sha256")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(DnsError, match="chmod 600"):
        from_file(path, KEY_NAME, "hmac-sha256")
