"""Commands in containers: nothing of what they say is lost, however late it is read."""

from __future__ import annotations

import http.client
import secrets
import time
from collections.abc import Iterator

import pytest

from operations import images
from providers.localcloud import docker_api
from tests.providers.conftest import docker

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    images.ensure_base(print)
    name = f"semesterhub-exec-{secrets.token_hex(4)}"
    docker("run", "-d", "--rm", "--network", "none", "--name", name, images.BASE_TAG, "sleep", "300")
    yield name
    docker("kill", name)


@pytest.mark.parametrize("delay_s", [0.0, 0.4])
def test_all_output_arrives_also_on_a_machine_that_is_busy(
    delay_s: float, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = http.client.HTTPResponse.begin

    def late(self: http.client.HTTPResponse) -> None:
        time.sleep(delay_s)  # meanwhile the command says something
        begin(self)

    monkeypatch.setattr(http.client.HTTPResponse, "begin", late)
    lines: list[str] = []
    script = "echo first; echo aside >&2; sleep 1; seq 20000; sleep 0.2; echo last; exit 3"
    done = docker_api.execute(container, ["sh", "-c", script], 15, on_line=lines.append)
    numbers = "".join(f"{n}\n" for n in range(1, 20001))
    assert (done.exit_code, done.stdout, done.stderr) == (3, f"first\n{numbers}last\n", "aside\n")
    assert "first" in lines and lines[-1] == "last"
    assert docker_api.execute(container, ["true"], 15) == docker_api.ExecResult(0, "", "")


def test_a_command_that_hangs_is_ended(container: str) -> None:
    began = time.monotonic()
    assert docker_api.execute(container, ["sleep", "60"], 1).exit_code != 0
    assert time.monotonic() - began < 10
