"""Failover and failback over sites without machines: order, refusals, resuming after a kill at every line of the journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations.errors import UserError
from operations.failover import commands, moves
from operations.failover.journal import Journal, Move, only_one, unfinished
from operations.failover.moves import STEPS, Options
from tests.operations.failover.fakes import World

pytestmark = pytest.mark.unit


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of the command runs after it."""


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "SYNC_PAUSE_S", 0.0)


def move(world: World, kind: Any, folder: Path, **options: Any) -> Journal:
    undo = options.pop("undo", False)
    return commands.move("demo", kind, world.around(), Options(**options), undo=undo, folder=folder)


def back_as_standby(world: World, name: str) -> None:
    """What the keepers do by themselves after a move: the fenced site catches up and is a standby."""
    other = world.states["cloud" if name == "fallback" else "fallback"]
    world.away.discard(name)
    world.off.discard(name)
    world.states[name].update(role="standby", epoch=other["epoch"], seen_epoch=other["epoch"])


def test_a_failover_fences_before_it_promotes_and_switches_the_name_last(tmp_path: Path) -> None:
    world = World()
    journal = move(world, "failover", tmp_path)
    changing = [(site, command) for site, command in world.asked if command != "status"]
    assert changing == [
        ("fallback", "claim"),
        ("cloud", "fence"),
        ("fallback", "proof"),
        ("cloud", "sync"),
        ("fallback", "promote"),
        ("fallback", "release"),
    ]
    assert world.addresses == ("127.0.0.2",)
    assert journal.ended and unfinished("demo", tmp_path) is None
    assert [name for name, _, _ in journal.spans()] == list(STEPS)


def test_a_failback_is_the_same_way_round(tmp_path: Path) -> None:
    world = World()
    move(world, "failover", tmp_path)
    back_as_standby(world, "cloud")
    move(world, "failback", tmp_path)
    assert world.states["cloud"]["role"] == "active" and world.states["fallback"]["role"] == "fenced"
    assert world.states["cloud"]["epoch"] == 3
    assert world.addresses == ("127.0.0.1",)


def test_a_source_that_does_not_answer_is_switched_off_by_its_cloud(tmp_path: Path) -> None:
    world = World(away={"cloud"})
    journal = move(world, "failover", tmp_path)
    assert world.off == {"cloud"} and (journal.result("fence") or {})["how"] == "cloud"
    assert "skipped" in (journal.result("last-sync") or {})


def test_without_any_fence_nothing_is_promoted_and_the_admin_is_told_what_to_confirm(tmp_path: Path) -> None:
    world = World(away={"cloud"}, power_fails="the API answers 503")
    with pytest.raises(UserError, match=r"the API answers 503.*(\n.*)*--i-have-powered-it-off"):
        move(world, "failover", tmp_path)
    assert world.states["fallback"]["role"] == "standby" and world.addresses == ("127.0.0.1",)
    # The same command with the confirmation goes on from there.
    world.off.add("cloud")
    journal = move(world, "failover", tmp_path, powered_off=True)
    assert world.states["fallback"]["role"] == "active" and (journal.result("fence") or {})["how"] == "admin"


def test_a_fallback_that_does_not_answer_is_fenced_by_a_person_and_the_cloud_stays_on(tmp_path: Path) -> None:
    """The switch is the cloud's: it says nothing about the fallback, and a failback needs the cloud."""
    world = World()
    move(world, "failover", tmp_path)
    back_as_standby(world, "cloud")
    world.away.add("fallback")
    with pytest.raises(
        UserError, match=r"could not be fenced.*no cloud that could switch it off(.*\n)*.*--i-have-powered-it-off"
    ):
        move(world, "failback", tmp_path)
    assert not world.off and world.states["cloud"]["role"] == "standby"
    world.off.add("fallback")
    journal = move(world, "failback", tmp_path, powered_off=True)
    assert (journal.result("fence") or {})["how"] == "admin" and world.states["cloud"]["role"] == "active"


def every_line(kind: str) -> list[int]:
    return list(range(1, 2 * len(STEPS) + 2))


@pytest.mark.parametrize("kind", ["failover", "failback"])
@pytest.mark.parametrize("line", every_line("failover"))
@pytest.mark.parametrize("late", [False, True], ids=["before-the-line", "after-the-line"])
def test_killed_at_any_line_of_its_journal_the_same_command_ends_in_the_same_state(
    kind: str, line: int, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    if kind == "failback":
        move(world, "failover", tmp_path)
        back_as_standby(world, "cloud")
    written = 0
    real = Journal.write

    def write(self: Journal, *arguments: Any) -> Any:
        nonlocal written
        written += 1
        if written == line and not late:
            raise KilledError
        done = real(self, *arguments)
        if written == line:
            raise KilledError
        return done

    monkeypatch.setattr(Journal, "write", write)
    with pytest.raises(KilledError):
        move(world, kind, tmp_path)
    monkeypatch.undo()
    finished = unfinished("demo", tmp_path) is None
    if not finished:
        move(world, kind, tmp_path)
    target, source = ("fallback", "cloud") if kind == "failover" else ("cloud", "fallback")
    assert world.states[target]["role"] == "active" and world.states[source]["role"] == "fenced"
    assert world.states[target]["epoch"] == (2 if kind == "failover" else 3)
    assert world.states[target]["claim"] is None
    assert unfinished("demo", tmp_path) is None
    assert world.addresses == (("127.0.0.2",) if kind == "failover" else ("127.0.0.1",))


def expired(world: World) -> None:
    world.states["fallback"]["certificate_not_after"] = time.time() - 5


def full(world: World) -> None:
    world.states["fallback"]["disk"]["homes_free_bytes"] = 2**29


def old(world: World) -> None:
    world.states["fallback"]["watermark"]["homes_until"] = time.time() - 3600


def old_and_dead(world: World) -> None:
    world.states["fallback"]["watermark"]["homes_until"] = time.time() - 100
    world.away.add("cloud")


def without_images(world: World) -> None:
    world.states["fallback"]["missing_images"] = ["student"]


def other_release(world: World) -> None:
    world.states["fallback"]["release"] = "xyz"


def claimed(world: World) -> None:
    world.states["fallback"]["claim"] = {"token": "t", "by": "ada@ops", "kind": "failover", "epoch": 2, "at": 0}


def wrong_key(world: World) -> None:
    world.dns_problem = "127.0.0.1 refuses the TSIG key 'semesterhub'"


def unreachable(world: World) -> None:
    world.away.add("fallback")


def active(world: World) -> None:
    world.states["fallback"]["role"], world.states["cloud"]["role"] = "active", "standby"


def fenced(world: World) -> None:
    world.states["fallback"]["role"] = "fenced"


def never_copied(world: World) -> None:
    world.states["fallback"]["watermark"] = None


REFUSALS: list[tuple[Callable[[World], None], str]] = [
    (unreachable, r"the fallback site \(127.0.0.2\) cannot be reached: look at the machine and its SSH"),
    (full, r"disk is too small: 0.5 GiB are free, 1.0 GiB are needed: give the file system"),
    (expired, r"the certificate on the fallback site has expired: the active site renews it"),
    (old, r"last complete copy on the fallback site is 36\d\d s old, more than the 600 s"),
    (
        old_and_dead,
        r"is 10\d s old, more than the 60 s that the stack allows to lose \(fallback.targets.rpo_s\).*--accept-loss",
    ),
    (never_copied, r"nothing has been copied to the fallback site yet"),
    (without_images, r"images are missing on the fallback site: student: .*./hub fallback.up"),
    (other_release, r"runs other images or settings than the cloud site: .*./hub fallback.up"),
    (wrong_key, r"refuses the TSIG key 'semesterhub': see `fallback.dns`"),
    (claimed, r"another failover is in progress, begun by ada@ops at 00:00:00 UTC: speak with them"),
    (active, r"the fallback site is active already"),
    (fenced, r"the fallback site is fenced and has not come back as a standby yet"),
]


@pytest.mark.parametrize(("harm", "sentence"), REFUSALS, ids=[harm.__name__ for harm, _ in REFUSALS])
def test_each_refusal_is_a_sentence_and_nothing_was_touched(
    harm: Callable[[World], None], sentence: str, tmp_path: Path
) -> None:
    world = World()
    harm(world)
    with pytest.raises(UserError, match=r"nothing was touched") as refused:
        move(world, "failover", tmp_path)
    import re

    assert re.search(sentence, str(refused.value)), str(refused.value)
    assert {command for _, command in world.asked} <= {"status"}
    assert unfinished("demo", tmp_path) is None, "there is nothing to continue"


def test_another_move_here_is_waited_for(tmp_path: Path) -> None:
    with (
        only_one("demo", tmp_path),
        pytest.raises(UserError, match=r"another move of stack 'demo' is in progress here \(process"),
    ):
        move(World(), "failover", tmp_path)


def test_a_move_that_another_admin_has_claimed_first_leaves_nothing_to_continue(tmp_path: Path) -> None:
    """Both looked before either had claimed; then the other one moved the class, and ours must not stand in the way of going back."""
    world = World()
    moves_preflight = moves.STEPS["preflight"]

    def overtaken(run: moves.Run) -> dict[str, Any]:
        found = moves_preflight(run)
        world.states["fallback"]["claim"] = {
            "token": "theirs",
            "by": "ada@far",
            "kind": "failover",
            "epoch": 2,
            "at": 0.0,
        }
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(moves.STEPS, "preflight", overtaken)
        with pytest.raises(UserError, match="another failover is in progress on the fallback site: by ada@far"):
            move(world, "failover", tmp_path)
    assert unfinished("demo", tmp_path) is None


def test_a_last_sync_that_fails_stops_before_anything_is_lost(tmp_path: Path) -> None:
    world = World(sync_fails=True)
    with pytest.raises(UserError, match=r"the disk is full(.*\n)*.*nothing is lost yet.*--undo.*--accept-loss"):
        move(world, "failover", tmp_path)
    assert world.states["fallback"]["role"] == "standby"
    world.sync_fails = False
    move(world, "failover", tmp_path)
    assert world.states["fallback"]["role"] == "active"


def test_undo_gives_the_class_back_to_the_source_under_a_newer_epoch(tmp_path: Path) -> None:
    world = World(sync_fails=True)
    with pytest.raises(UserError):
        move(world, "failover", tmp_path)
    journal = move(world, "failover", tmp_path, undo=True)
    assert journal.ended
    assert world.states["cloud"]["role"] == "active" and world.states["cloud"]["epoch"] == 3
    assert world.addresses == ("127.0.0.1",)
    assert unfinished("demo", tmp_path) is None


def test_undo_after_a_promotion_is_refused(tmp_path: Path) -> None:
    world = World(ill="the hub does not answer")
    with pytest.raises(UserError, match="does not answer"):
        move(world, "failover", tmp_path)
    with pytest.raises(UserError, match=r"may be promoted already.*./hub failback"):
        move(world, "failover", tmp_path, undo=True)
    assert world.addresses == ("127.0.0.1",), "the name does not lead to a hub that failed its check"


def test_a_failback_does_not_begin_while_a_failover_is_unfinished(tmp_path: Path) -> None:
    world = World(ill="the hub does not answer")
    with pytest.raises(UserError):
        move(world, "failover", tmp_path)
    with pytest.raises(UserError, match=r"a failover of stack 'demo' is unfinished.*--undo"):
        move(world, "failback", tmp_path)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    world = World()
    lines = commands.plan("demo", "failover", world.around())
    assert all(line.ok for line in lines) and {command for _, command in world.asked} == {"status"}
    assert list(tmp_path.iterdir()) == []


def test_a_journals_cut_last_line_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    journal = Journal.start(Move("failover", "demo", "cloud", "fallback", "me"), tmp_path)
    journal.write("preflight", "began")
    with journal.path.open("ab") as stream:
        stream.write(b'{"at": 1, "step": "prefl')
    again = Journal.read(journal.path)
    assert [line.event for line in again.lines] == ["began"]
    again.write("preflight", "done", {"x": 1})
    assert (Journal.read(journal.path).result("preflight")) == {"x": 1}


def test_a_target_that_restarted_is_claimed_and_shown_the_fence_again(tmp_path: Path) -> None:
    world = World(sync_fails=True)
    with pytest.raises(UserError, match="the last sync failed"):
        move(world, "failover", tmp_path)
    world.around().sites.fallback.restart()  # type: ignore[attr-defined]
    world.sync_fails = False
    journal = move(world, "failover", tmp_path)
    assert [c for _, c in world.asked].count("fence") == 2 and world.states["fallback"]["epoch"] == 3
    assert (journal.result("claim") or {})["epoch"] == 3


def test_older_files_are_promoted_only_by_an_admin_who_accepts_the_loss(tmp_path: Path) -> None:
    world = World(older_files=True)
    with pytest.raises(UserError, match=r"let it catch up, or say --accept-loss"):
        move(world, "failover", tmp_path)
    assert world.states["fallback"]["role"] == "standby"
    move(world, "failover", tmp_path, accept_loss=True)
    assert world.states["fallback"]["role"] == "active"


def test_a_move_whose_target_was_taken_over_ends_and_the_next_command_begins_anew(tmp_path: Path) -> None:
    world = World(sync_fails=True)
    with pytest.raises(UserError):
        move(world, "failover", tmp_path)
    world.states["fallback"]["claim"] = {"token": "other", "by": "ada", "kind": "failover", "epoch": 9, "at": 0}
    world.sync_fails = False
    with pytest.raises(UserError, match="has no claim"):
        move(world, "failover", tmp_path)
    assert unfinished("demo", tmp_path) is None


def test_a_last_sync_that_must_be_sent_again_is_sent_again(tmp_path: Path) -> None:
    world = World(sync_fails_times=2)
    move(world, "failover", tmp_path)
    assert [c for _, c in world.asked].count("sync") == 3 and world.states["fallback"]["role"] == "active"
