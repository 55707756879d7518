"""The Markdown: the same each time, within a comment's limit, and never more than text whatever the values hold."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.planned import collect
from operations.preview_diff import (
    COMMENT_LIMIT,
    Change,
    Cost,
    Difference,
    Report,
    Verdict,
    build,
    from_json,
    render,
    to_json,
)
from operations.preview_diff.wire import BadReport
from tests.operations.preview_diff.events import recorded

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).with_name("golden")


def golden(name: str, text: str) -> None:
    """Compare with a file; `SEMESTERHUB_GOLDEN=write` writes it anew, for a look with `git diff`."""
    path = GOLDEN / f"{name}.md"
    if os.environ.get("SEMESTERHUB_GOLDEN") == "write":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def report(*changes: Change, **more: object) -> Report:
    base = Report(stack="fa26", cloud="aws", baseline="main (0123abc)", changes=changes, unchanged=3)
    return replace(base, **more)  # pyright: ignore[reportArgumentType]


def thing(name: str, *differences: Difference, op: str = "update", kind: str = "aws:ec2/vpc:Vpc") -> Change:
    return Change(op=op, type=kind, name=name, differences=differences)  # pyright: ignore[reportArgumentType]


def test_what_pulumi_recorded() -> None:
    golden("recorded", render(build(collect(recorded()), stack="fa26", cloud="aws", baseline="HEAD~1 (0123abc)")))


def test_everything_a_report_can_hold() -> None:
    golden(
        "everything",
        render(
            report(
                thing("vpc", Difference("cidrBlock", "10.0.0.0/16", "10.1.0.0/16", replaces=True), op="replace"),
                replace(
                    thing(
                        "homes",
                        Difference("encrypted", "false", "true", replaces=True, security="encryption"),
                        op="replace",
                        kind="aws:efs/fileSystem:FileSystem",
                    ),
                    homes=True,
                ),
                thing(
                    "hub",
                    Difference(
                        "userData", "#cloud-config\na: 1\nb: 2\nc: 3\nd: 4\n", "#cloud-config\na: 1\nb: 2\nc: 3\nd: 5\n"
                    ),
                ),
                thing(
                    "ssh",
                    Difference(
                        "cidr", "10.0.0.0/8", "0.0.0.0/0", security="network access", alarm="open to the whole internet"
                    ),
                ),
                replace(
                    thing("role", Difference("policy", None, "{}"), op="create", kind="aws:iam/role:Role"),
                    security="identity and permissions",
                ),
                thing("gone", Difference("name", "/z", None), op="delete"),
                cost=Cost(3120.5, 3300.0, "2026-01-15", (("workers", 2000.0, 2179.5), ("new bucket", None, 0.0))),
                verdicts=(
                    Verdict(
                        "ssh",
                        "no SSH from the whole internet",
                        ("SecurityGroup 'ssh': 0.0.0.0/0. Write the admins' own addresses.",),
                    ),
                    Verdict("tags", "tags on everything"),
                ),
                notes=("Homes would be lost.",),
            )
        ),
    )


def test_no_changes_is_one_line() -> None:
    assert render(report(unchanged=61)) == (
        "### Preview of `fa26` on AWS\n\n**No changes**, 61 unchanged. Compared with `main (0123abc)`.\n"
    )


def test_an_error_is_told_instead() -> None:
    text = render(report(error="semesterhub:courses[0].students is -1\nallowed: 1 to 5000"))
    assert "```text\nsemesterhub:courses[0].students is -1\nallowed: 1 to 5000\n```" in text
    assert "No changes" not in text


def test_replaced_resources_are_red_and_say_why() -> None:
    text = render(report(thing("vpc", Difference("cidrBlock", "a", "b", replaces=True), op="replace")))
    assert "🔴 **1 to replace**" in text
    assert "```diff\n- ec2.Vpc vpc: deleted and made anew because of cidrBlock\n" in text


def test_homes_that_would_be_lost_are_told_so() -> None:
    change = replace(thing("homes", op="replace", kind="aws:efs/fileSystem:FileSystem"), homes=True)
    assert "THIS HOLDS STUDENTS' FILES" in render(report(change))


def test_security_comes_before_everything_else_and_alarms_before_the_rest() -> None:
    text = render(
        report(
            thing("a", Difference("egress", "x", "y", security="network access")),
            thing("z", Difference("ingress", "10.0.0.0/8", "0.0.0.0/0", security="network access", alarm="open")),
        )
    )
    assert text.index("Security-relevant") < text.index("#### Updated")
    assert text.index("🔴 **open**") < text.index("| network access |")


def test_a_new_door_is_told_by_who_may_come_through() -> None:
    door = thing(
        "ssh",
        Difference("cidrIpv4", None, "192.0.2.0/24", security="network access"),
        Difference("securityGroupId", None, "‹id of SecurityGroup hub›", security="network access"),
        op="create",
        kind="aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    )
    text = render(report(replace(door, security="network access")))
    assert "| network access | 🟢 `vpc.SecurityGroupIngressRule` `ssh` | `cidrIpv4` |  | `192.0.2.0/24` |" in text


def test_what_changes_alike_is_told_once() -> None:
    tag = Difference('tags["cost-centre"]', "4711", "4712")
    text = render(report(*[thing(f"t{n}", tag) for n in range(5)], thing("other", Difference("p", "a", "b"))))
    assert text.count("+ 4712") == 1
    assert "<b>5 resources</b> alike" in text
    assert all(f"`t{n}`" in text for n in range(5))
    assert "<b>other</b>: p" in text


def test_a_long_document_does_not_hide_what_comes_in_its_place() -> None:
    long = "\n".join(f"line {n}" for n in range(500))
    text = render(report(thing("bundle", Difference("content", long, "(known after deploy)"))))
    assert "- line 0\n" in text
    assert "+ (known after deploy)\n" in text
    assert "… 496 more lines" in text


EVIL = (
    "x` @everyone <img src=x onerror=alert(1)> ```\n# head\n</details> | [a](https://www.example.org) <!-- semesterhub:preview -->",
    "`````\n@org/team\n\u202e txt",
    "| a | b |\r\n---|---",
)


@pytest.mark.parametrize("evil", EVIL)
def test_values_stay_values(evil: str) -> None:
    """Outside of code, nothing of a value is read as Markdown, HTML or a mention."""
    text = render(
        report(
            thing(evil, Difference(evil, evil, evil + "2", security=evil, alarm=evil), kind=f"aws:x/y:{evil}"),
            replace(thing(evil, Difference(evil, None, evil), op="create"), security=evil),
            thing(evil, Difference(evil, evil, "", replaces=True), op="replace"),
            verdicts=(Verdict("r", evil, (evil,)),),
            notes=(evil,),
            cost=Cost(1, 2, evil, ((evil, 1, 2),)),
        )
    )
    outside = _outside_code(text)
    for sign in ("@", "<img", "](", "https:", "www.", "<!--", "\u202e", "[a]"):
        assert sign not in outside, outside
    assert outside.count("<details>") == outside.count("</details>")
    for line in text.splitlines():
        if line.startswith(("| 🔴", "| x")):
            assert line.replace("\\|", "").count("|") in {5, 6}


def _outside_code(text: str) -> str:
    """The text without its code blocks and code spans, read as GitHub reads them."""
    kept: list[str] = []
    fence = ""
    for line in text.splitlines():
        marks = line[: len(line) - len(line.lstrip("`"))]
        if fence:
            if marks and len(marks) >= len(fence) and line == marks:
                fence = ""
            continue
        if len(marks) >= 3 and "`" not in line[len(marks) :]:
            fence = marks
            continue
        kept.append(_without_spans(line))
    assert not fence
    return "\n".join(kept)


def _without_spans(line: str) -> str:
    out, rest = "", line
    while "`" in rest:
        before, _, after = rest.partition("`")
        marks = 1 + len(after) - len(after.lstrip("`"))
        after = after.lstrip("`")
        place = 0
        while True:
            place = after.find("`" * marks, place)
            assert place >= 0, f"a code span stays open: {line}"
            end = place + marks
            if (end == len(after) or after[end] != "`") and (place == 0 or after[place - 1] != "`"):
                break
            place = end
            while place < len(after) and after[place] == "`":
                place += 1
        out, rest = out + before, after[end:]
    return out + rest


def large(count: int, size: int) -> Report:
    made = [thing(f"t{i:04}", Difference("p", None, f"{i}" + "v" * size), op="create") for i in range(count)]
    changed = [thing(f"u{i:04}", Difference("p", f"{i}" + "o" * size, "n" * size)) for i in range(count)]
    anew = [
        thing(f"r{i:04}", Difference("p", f"{i}" + "o" * size, "n" * size, replaces=True), op="replace")
        for i in range(count)
    ]
    return report(*anew, *changed, *made)


@pytest.mark.parametrize(("count", "size"), [(30, 200), (150, 200), (400, 200), (1500, 500), (2, 199_000)])
def test_a_comment_never_exceeds_its_limit_and_says_what_is_left_out(count: int, size: int) -> None:
    text = render(large(count, size), whole="The artifact has all.")
    assert len(text.encode()) <= COMMENT_LIMIT
    assert f"**{count} to create**" in text
    assert text.count("<details>") == text.count("</details>")
    assert text.count("\n```") % 2 == 0
    full = render(large(count, size), limit=10**9)
    assert ("✂️" in text) == (len(full.encode()) > COMMENT_LIMIT)
    if "✂️" in text:
        assert "The artifact has all." in text


def test_lists_that_are_cut_count_what_is_left() -> None:
    text = render(large(1000, 250), limit=20_000)
    shown = text.count("- 🟢")
    assert f"… and {1000 - shown} more resources" in text


def test_several_stacks_share_the_limit_and_small_ones_stay_whole() -> None:
    small = report(thing("only", Difference("p", "a", "b")))
    text = render([large(400, 200), small, large(400, 200)])
    assert len(text.encode()) <= COMMENT_LIMIT
    assert render(small).strip() in text
    assert text.count("### Preview of") == 3


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.integers(200, 3000))
def test_any_value_within_any_limit(before: str, after: str, limit: int) -> None:
    text = render(report(*[thing(before[:20], Difference(after, before, after))] * 5), limit=max(limit, 400))
    assert len(text.encode()) <= max(limit, 400)
    _outside_code(text)


def test_a_report_comes_back_from_json_as_it_was() -> None:
    full = build(collect(recorded()), stack="fa26", cloud="aws", baseline="x", verdicts=[Verdict("a", "b", ("c",))])
    assert from_json(to_json(full)) == full
    assert to_json(full) == to_json(from_json(to_json(full)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"stack": "fa26"', '"stack": 1'),
        ('"unchanged": 3', '"unchanged": -1'),
        ('"op": "update"', '"op": "explode"'),
        ('"format": "semesterhub-preview/1"', '"format": "other"'),
        ('"changes": [', '"changes": {}, "x": ['),
        ('"before": "a"', '"before": ["a"]'),
    ],
)
def test_json_that_is_no_report_is_refused(old: str, new: str) -> None:
    text = to_json(report(thing("it", Difference("p", "a", "b"))))
    assert old in text
    with pytest.raises(BadReport):
        from_json(text.replace(old, new))
