"""Questions and answers between two sites: many at a time, short ones never behind long ones, and told when the other end is gone."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubconfig.keeper.channel import Channel
from hubconfig.keeper.errors import KeeperError

pytestmark = pytest.mark.unit

SERVER = """
import sys, time
from hubconfig.keeper.channel import serve
from hubconfig.keeper.errors import KeeperError

def echo(body, data):
    return {"said": body["say"]}, data

def slow(body, data):
    time.sleep(body["s"])
    return {}, b""

def refuse(body, data):
    raise KeeperError("not today")

def fail(body, data):
    raise RuntimeError("a mistake")

def long(body, data):
    return {}, b"x" * body["bytes"]

def leave(body, data):
    import os
    print("the machine goes down", file=sys.stderr, flush=True)
    os._exit(1)

serve(sys.stdin.buffer, sys.stdout.buffer, {"echo": echo, "slow": slow, "refuse": refuse, "fail": fail, "long": long, "leave": leave})
"""


@pytest.fixture
def channel(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    opened = Channel(lambda: [sys.executable, "-c", SERVER])
    yield opened
    opened.close()


def test_answers_find_their_questions(channel: Channel) -> None:
    found: dict[int, tuple[object, bytes]] = {}

    def ask(number: int) -> None:
        body, data = channel.call("echo", {"say": number}, bytes([number]) * 100_000)
        found[number] = (body["said"], data[:1])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: (number, bytes([number])) for number in range(20)}
    assert channel.connections == 1


def test_a_short_question_overtakes_long_ones(channel: Channel) -> None:
    channel.call("echo", {"say": 0})
    busy = [
        threading.Thread(target=channel.call, args=("slow", {"s": 1})),
        threading.Thread(target=channel.call, args=("long", {"bytes": 50_000_000})),
    ]
    for thread in busy:
        thread.start()
    began = time.monotonic()
    channel.call("echo", {"say": 1})
    took_s = time.monotonic() - began
    assert busy[0].is_alive()
    assert took_s < 0.9
    for thread in busy:
        thread.join()


def test_a_refusal_is_told_as_it_is_and_a_mistake_as_a_failure(channel: Channel) -> None:
    with pytest.raises(KeeperError, match=r"^not today$"):
        channel.call("refuse")
    with pytest.raises(OSError, match="RuntimeError: a mistake"):
        channel.call("fail")


def test_an_answer_that_takes_too_long_is_given_up(channel: Channel) -> None:
    with pytest.raises(OSError, match=r"within 0\.2 s"):
        channel.call("slow", {"s": 1}, timeout_s=0.2)
    assert channel.call("echo", {"say": 1})[0]["said"] == 1


def test_when_the_other_end_goes_it_is_said_why_and_the_next_question_connects_again(channel: Channel) -> None:
    with pytest.raises(OSError, match="the machine goes down"):
        channel.call("leave")
    end = time.monotonic() + 10
    while True:
        try:
            assert channel.call("echo", {"say": 2})[0]["said"] == 2
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert channel.connections == 2
