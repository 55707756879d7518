"""Rules of faults: read, refused, counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.faults import Gate, Rule, calls, parse

pytestmark = pytest.mark.unit


def gate(folder: Path, *rules: dict[str, object]) -> Gate:
    return Gate(folder, parse(json.dumps(rules)))


def test_the_nth_matching_call_is_hit_and_only_that(tmp_path: Path) -> None:
    it = gate(tmp_path, {"kind": "error", "call": "ec2:Create*", "nth": 2})
    hit = [
        it.enter(call) is not None
        for call in ("ec2:CreateVpc", "iam:CreateRole", "ec2:CreateSubnet", "ec2:CreateSubnet")
    ]
    assert hit == [False, False, True, False]


def test_times_makes_it_go_on(tmp_path: Path) -> None:
    it = gate(tmp_path, {"kind": "throttle", "times": 2})
    assert [bool(it.enter("a:B")) for _ in range(4)] == [True, True, False, False]
    it = gate(tmp_path, {"kind": "quota", "nth": 2, "times": 0})
    assert [bool(it.enter("a:B")) for _ in range(4)] == [False, True, True, True]


def test_changing_calls_are_noted_with_their_occurrence(tmp_path: Path) -> None:
    it = gate(tmp_path, {"kind": "lag", "call": "a:C", "reads": 3})
    for call in ("a:B", "a:C", "a:B"):
        it.enter(call)
    assert calls(tmp_path) == [
        {"call": "a:B", "occurrence": 1, "fault": None},
        {"call": "a:C", "occurrence": 1, "fault": "lag"},
        {"call": "a:B", "occurrence": 2, "fault": None},
    ]
    assert Gate(tmp_path, ()).enter("x") is None and len(calls(tmp_path)) == 1  # a new run, a new list


def test_the_message_says_that_it_is_on_purpose(tmp_path: Path) -> None:
    fault = gate(tmp_path, {"kind": "error"}).enter("ec2:CreateVpc")
    assert fault is not None and fault.message == "injected fault 'error' at ec2:CreateVpc (number 1 of this run)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "no JSON"),
        ("{}", "list of objects"),
        ('[{"kind": "fire"}]', "allowed are error, throttle, quota, timeout, lag"),
        ('[{"kind": "error", "nht": 1}]', "unknown key 'nht'"),
        ('[{"kind": "error", "nth": 0}]', "counts from 1"),
        ('[{"kind": "error", "nth": true}]', "is no int"),
        ('[{"kind": "lag", "reads": -1}]', "not negative"),
    ],
)
def test_wrong_rules_are_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_no_rules_is_nothing() -> None:
    assert parse("") == () and parse('[{"kind": "lag"}]') == (Rule("lag"),)
