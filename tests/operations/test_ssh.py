"""Reaching a machine over SSH: what is refused and in which words, what is pinned, and that no secret is in a command."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from operations import ssh
from operations.errors import UserError
from operations.ssh import NotLetIn, Target, Unreachable, connect, known_key

pytestmark = pytest.mark.unit
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0OmYxm5GCbVGlKXAP4Jm8FTrWSS9fCzJpNpuoK1eXm"

STAND_IN = """\
#!/usr/bin/env -S python3 -IS
# Plays the OpenSSH client: notes how it was called, then runs the command here, or fails as it was told to.
import json, os, subprocess, sys
here = os.path.dirname(os.path.abspath(__file__))
with open(f"{here}/calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if os.path.exists(f"{here}/fails"):
    sys.stderr.write(open(f"{here}/fails").read())
    sys.exit(255)
if "-O" in sys.argv:
    sys.exit(0)
if os.path.exists(f"{here}/shows"):
    hosts = next(word for word in sys.argv if word.startswith("UserKnownHostsFile=")).partition("=")[2]
    open(hosts, "w").write(open(f"{here}/shows").read())
words = sys.argv[sys.argv.index("--") + 2 :]
sys.exit(subprocess.run(["sh", "-c", words[0]]).returncode)
"""


class Client:
    """A stand-in for the OpenSSH client."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, folder / "ssh"
        folder.mkdir()
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)

    def fails_with(self, message: str) -> None:
        (self.folder / "fails").write_text(message)

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client(tmp_path / "bin")
    monkeypatch.setattr(ssh, "program", lambda: str(made.program))
    return made


@pytest.fixture
def target(tmp_path: Path) -> Target:
    key = tmp_path / "key"
    key.write_text("a key")
    key.chmod(0o600)
    return Target("hub0.example.edu", 2222, "root", key, tmp_path / "known" / "hosts", KEY + " somebody")


def test_a_command_gets_its_input_and_gives_its_output(client: Client, target: Target) -> None:
    with connect(target) as machine:
        done = machine.run(["sh", "-c", "cat; echo said >&2"], "the input's text")
        assert (done.text, done.stderr.strip()) == ("the input's text", "said")
        assert machine.run("echo '{\"a\": 1}'").json() == {"a": 1}


def test_what_is_sent_on_standard_input_is_in_no_command_line(client: Client, target: Target, tmp_path: Path) -> None:
    with connect(target) as machine:
        (tmp_path / "deep/open").mkdir(parents=True)  # as Docker makes it for a container whose file is not there yet
        machine.put({f"{tmp_path}/deep/secret": (b"hunter2", 0o600), f"{tmp_path}/deep/open": (b"x", 0o644)})
        assert machine.read(f"{tmp_path}/deep/secret") == b"hunter2"
        assert machine.read(f"{tmp_path}/deep/none") is None
    assert (tmp_path / "deep/secret").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["open", "secret"]
    assert "hunter2" not in json.dumps(client.calls)


def test_a_user_who_is_not_root_becomes_root_without_a_question(client: Client, target: Target) -> None:
    with pytest.raises(UserError), connect(Target(target.host, 22, "ada", target.key_file, target.known_hosts, KEY)):
        pass  # there may be no sudo here; what was asked for counts
    assert client.calls[0][-1] == "sudo -n sh -c true"


def test_a_failed_command_says_machine_command_and_why(client: Client, target: Target) -> None:
    with connect(target) as machine:
        with pytest.raises(UserError, match=r"on hub0.example.edu, `echo no disk >&2; exit 3` failed \(3\): no disk"):
            machine.run("echo no disk >&2; exit 3")
        assert machine.run("exit 3", check=False).code == 3
        with pytest.raises(UserError, match="did not end within"):
            machine.run("exec sleep 30", timeout_s=0.2)


def test_lines_are_told_while_the_command_runs(client: Client, target: Target, tmp_path: Path) -> None:
    told: list[str] = []
    first = threading.Event()

    def hear(line: str) -> None:
        told.append(line)
        (tmp_path / "go").write_text("")
        first.set()

    with connect(target) as machine:
        machine.run(
            f"echo one >&2; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo two >&2", on_line=hear, timeout_s=20
        )
    assert first.is_set() and told == ["one", "two"]


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        ("ssh: connect to host hub0 port 22: Connection refused\r\n", Unreachable, "cannot be reached.*refused.*Start the machine"),
        ("ssh: Could not resolve hostname hub0: Name or service not known\n", Unreachable, "not known.*correct semesterhub:fallback.host"),
        ("root@hub0: Permission denied (publickey).\n", NotLetIn, "does not let the key .* in.*authorized_keys of root"),
        ("No ED25519 host key is known\nHost key verification failed.\n", NotLetIn, "another host key than .*SHA256:"),
        ('Load key "/k": invalid format\r\n', NotLetIn, "no private SSH key"),
        ("sudo: a password is required\n", NotLetIn, "may not become root without a password"),
    ],
)  # fmt: skip
def test_each_refusal_is_a_sentence_that_says_what_to_do(
    client: Client, target: Target, said: str, kind: type[UserError], sentence: str
) -> None:
    client.fails_with(said)
    with pytest.raises(kind, match=f"(?s){sentence}") as refused, connect(target):
        pass
    assert type(refused.value) is kind


def test_a_key_that_is_missing_or_open_to_others_is_refused_before_anybody_is_asked(
    client: Client, target: Target
) -> None:
    target.key_file.chmod(0o644)
    with pytest.raises(NotLetIn, match="chmod 600"), connect(target):
        pass
    target.key_file.unlink()
    with pytest.raises(NotLetIn, match="does not exist"), connect(target):
        pass
    assert not (client.folder / "calls").exists()


def test_a_pinned_host_key_is_the_only_one_and_nobody_is_trusted_at_first_use(client: Client, target: Target) -> None:
    target.known_hosts.parent.mkdir()
    target.known_hosts.write_text("[hub0.example.edu]:2222 ssh-rsa BBBB\n")
    with connect(target):
        pass
    assert target.known_hosts.read_text() == f"[hub0.example.edu]:2222 {KEY}\n"
    assert "StrictHostKeyChecking=yes" in client.calls[0]
    assert known_key(target) == KEY


def test_without_a_pinned_key_the_first_one_is_kept_and_told(
    client: Client, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    new = Target("hub0", 22, "root", target.key_file, target.known_hosts)
    assert known_key(new) == ""
    (client.folder / "shows").write_text(f"hub0 {KEY}\n")
    with connect(new):
        pass
    assert ssh.fingerprint(KEY) in capsys.readouterr().err
    with connect(new):
        pass
    assert "first contact" not in capsys.readouterr().err
    assert known_key(new) == KEY and "StrictHostKeyChecking=accept-new" in client.calls[0]


def test_a_tunnel_that_does_not_come_up_says_why_and_leaves_no_process(client: Client, target: Target) -> None:
    with connect(target) as machine:
        client.fails_with("bind: Address already in use\n")
        with pytest.raises(Unreachable, match="Address already in use"), machine.tunnel(5000):
            pass
