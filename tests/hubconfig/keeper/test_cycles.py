"""Homes are copied as they are, whatever students do in them, and no copy says more than what it copied."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubconfig.keeper import config as configuration
from hubconfig.keeper import homes, parcels, scan, source, working
from hubconfig.keeper.cycles import Cycles
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.homes import Copier, Ends, Outcome
from hubconfig.keeper.source import Batch, HomesSource, Result
from tests.hubconfig.keeper.trees import Student, held

pytestmark = pytest.mark.unit


class Pair:
    """Two sites in two folders, and a clock that tests turn."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = folder / "here" / "homes", folder / "there" / "homes"
        for path in (self.here, self.there):
            path.mkdir(parents=True)
        paths = {name: str(folder / "here" / name) for name in ("state_path", "secrets_path", "run_path")}
        document = {
            "site": "cloud",
            "hub_url": "https://hub.test",
            "domain": "hub.test",
            "homes_path": str(self.here),
            **paths,
        }
        self.config = configuration.parse(document)
        self.now = 1000.0
        self.at_work: set[str] | None = None
        """None: everybody."""
        self.copier: Copier = Copier(Ends(str(self.here), str(self.there)))
        self.new()

    def new(self, epoch: int = 1) -> Pair:
        """As after a restart of the keeper."""
        self.source = HomesSource(self.config, epoch, workers=self._workers, clock=lambda: self.now)
        self.cycles = Cycles(
            self.source,
            self.copier,
            lambda parcel: parcels.unpack(self.there, parcel),
            lambda paths: homes.remove(self.there, paths),
            lambda: None,
        )
        return self

    def _workers(self, since: float) -> set[str]:
        return {path.name for path in self.here.iterdir()} if self.at_work is None else self.at_work

    def cycle(self, after_s: float = 10) -> Result:
        self.now += after_s
        return self.cycles.run()[0]

    def settle(self) -> Result:
        result = self.cycle()
        while result.more:
            result = self.cycle()
        return result

    def equal(self) -> None:
        for home in sorted(path.name for path in self.here.iterdir() if path.is_dir()):
            assert held(self.there / home) == held(self.here / home)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def watched(pair: Pair) -> list[tuple[str, list[object]]]:
    """Notes what the copier is asked for."""
    calls: list[tuple[str, list[object]]] = []
    paths, whole, parcel = pair.copier.paths, pair.copier.whole, pair.source.parcel

    def note_paths(changed: Any) -> Outcome:
        calls.append(("by rsync", list(changed)))
        return paths(changed)

    def note_parcel(changed: Any) -> bytes:
        calls.append(("changed", list(changed)))
        return parcel(changed)

    pair.source.parcel = note_parcel  # type: ignore[method-assign]

    def note_removed(removed: Any) -> dict[str, str]:
        calls.append(("removed", list(removed)))
        return homes.remove(pair.there, removed)

    def note_whole(names: Any, *, checksum: bool = False) -> Outcome:
        calls.append(("by content" if checksum else "whole", list(names)))
        return whole(names, checksum=checksum)

    pair.copier.paths, pair.copier.whole = note_paths, note_whole  # type: ignore[method-assign]
    pair.cycles.remove = note_removed
    return calls


def asked(calls: list[tuple[str, list[object]]], kind: str) -> list[object]:
    return [item for name, items in calls if name == kind for item in items]


@pytest.mark.parametrize("seed", range(6))
def test_the_copy_equals_the_homes_after_every_cycle_whatever_students_do(
    pair: Pair, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 3:  # else everything is so young that it is sent whether or not it was found to have changed
        monkeypatch.setattr(scan, "SETTLE_NS", 0)
    students = [Student(pair.here / name, seed * 10 + n) for n, name in enumerate(("ada", "other", "x-2d1"))]
    for round_ in range(5):
        for student in students:
            student.work(25)
        result = pair.settle()
        assert not result.held_by
        assert result.homes_until == pair.now, round_
        pair.equal()
        if round_ == 2:
            pair.new()


def test_a_first_copy_sets_no_watermark_before_every_home_is_there(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WHOLE_MAX", 2)
    for n in range(9):
        (pair.here / f"u{n}").mkdir()
        (pair.here / f"u{n}" / "f").write_text("x")
    results = [pair.cycle()]
    while results[-1].more:
        results.append(pair.cycle())
    assert len(results) > 1
    assert [bool(result.homes_until) for result in results] == [False] * (len(results) - 1) + [True]
    pair.equal()


def test_homes_that_come_later_are_copied_without_waiting_for_the_next_cycle(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WHOLE_MAX", 2)
    pair.at_work = set()
    (pair.here / "ada").mkdir()
    before = pair.settle().homes_until
    for n in range(20):
        (pair.here / f"u{n}").mkdir()
        (pair.here / f"u{n}" / "f").write_text("x")
    monkeypatch.setattr(scan, "SETTLE_NS", 0)
    calls = watched(pair)
    result = pair.cycle()
    assert result.more
    assert result.homes_until == before
    pair.settle()
    pair.equal()
    assert not [path for path in asked(calls, "changed") if path.endswith(b"/f")]  # once is enough


def test_a_home_that_can_never_be_read_asks_for_no_cycle_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (pair.here / "ada").mkdir()
    monkeypatch.setattr(
        scan.Scanner, "look", lambda self, names, **more: {name: PermissionError(13, "denied") for name in names}
    )
    result = pair.cycle()
    assert (result.left, result.more, result.homes_until) == (1, False, 0)


def test_a_first_copy_that_was_killed_goes_on_where_it_was(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WHOLE_MAX", 2)
    pair.at_work = set()
    for n in range(9):
        (pair.here / f"u{n}").mkdir()
        (pair.here / f"u{n}" / "f").write_text("x")
    left = pair.cycle().left
    assert 0 < left < 9
    pair.new()
    calls = watched(pair)
    pair.settle()
    assert len(asked(calls, "whole")) == left
    pair.equal()


def test_only_what_changed_is_named_to_the_copier(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SETTLE_NS", 0)
    for n in range(4):
        for k in range(10):
            (pair.here / f"u{n}" / f"d{k}").mkdir(parents=True)
            (pair.here / f"u{n}" / f"d{k}" / "f").write_text("x")
    pair.settle()
    pair.cycle()
    (pair.here / "u1" / "d3" / "f").write_text("y")
    (pair.here / "u2" / "d4" / "f").unlink()
    calls = watched(pair)
    pair.cycle()
    assert set(asked(calls, "changed")) == {b"u1/d3/f", b"u2/d4"}
    assert asked(calls, "removed") == [b"u2/d4/f"]
    assert not asked(calls, "whole")
    pair.equal()


def test_folders_that_exchange_their_names_are_noticed_although_nothing_in_them_changed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SETTLE_NS", 0)
    home = pair.here / "ada"
    for name in ("one", "two"):
        (home / name / "deep").mkdir(parents=True)
        (home / name / "deep" / "f").write_text(name)
    pair.settle()
    pair.cycle()
    (home / "one").rename(home / "aside")
    (home / "two").rename(home / "one")
    (home / "aside").rename(home / "two")
    pair.cycle()
    pair.equal()


def test_homes_of_users_who_are_not_at_work_are_not_even_looked_at(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "other"):
        (pair.here / name).mkdir()
        (pair.here / name / "f").write_text("x")
    pair.at_work = set()
    pair.settle()
    looked: list[str] = []
    look = scan.Scanner.look
    monkeypatch.setattr(
        scan.Scanner, "look", lambda self, names, **more: (looked.extend(names), look(self, names, **more))[1]
    )
    pair.cycle()
    assert not looked
    pair.at_work = {"ada"}
    (pair.here / "ada" / "f").write_text("y")
    pair.cycle()
    assert set(looked) == {"ada"}
    pair.equal()


def test_what_was_written_until_a_server_ended_arrives_although_it_is_gone(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    pair.settle()
    pair.at_work = {"ada"}
    pair.cycle()
    (pair.here / "ada" / "last words").write_text("x")
    pair.at_work = set()
    pair.cycle()
    pair.equal()


def test_a_home_that_was_marked_is_copied_once(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    pair.at_work = set()
    pair.settle()
    (pair.here / "ada" / "restored").write_text("x")
    working.mark(pair.config, "ada")
    pair.cycle()
    pair.equal()
    assert not working.marked(pair.config)
    with pytest.raises(KeeperError, match="not the name of a home"):
        working.mark(pair.config, "../ada")


def test_a_home_that_is_gone_here_stays_there(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    (pair.here / "ada" / "f").write_text("x")
    pair.settle()
    (pair.here / "ada").rename(pair.here.parent / "away")
    pair.settle()
    pair.new(2).settle()
    assert (pair.there / "ada" / "f").read_text() == "x"


def test_homes_that_are_not_named_are_left_alone_there(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    (pair.there / "other").mkdir()
    (pair.there / "other" / "f").write_text("x")
    pair.settle()
    assert (pair.there / "other" / "f").read_text() == "x"


def test_what_differs_there_without_anybody_having_touched_it_here_is_put_right_within_a_day(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    (pair.here / "ada" / "f").write_text("right")
    pair.at_work = set()
    pair.settle()
    file = pair.there / "ada" / "f"
    before = file.stat()
    file.write_text("wrong")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    pair.cycle()
    assert file.read_text() == "wrong"
    pair.cycle(source.COMPARE_EVERY_S + 1)
    pair.equal()


def disturb(pair: Pair, before: Callable[[], object], times: int = 1) -> None:
    """Somebody does something between the look and the copy."""
    left = [times]
    parcel = pair.source.parcel

    def disturbed(paths: Any) -> bytes:
        if left[0]:
            left[0] -= 1
            before()
        return parcel(paths)

    pair.source.parcel = disturbed


def test_a_file_that_is_renamed_while_it_is_copied_arrives_under_its_new_name_before_the_watermark(pair: Pair) -> None:
    home = pair.here / "ada"
    home.mkdir()
    pair.settle()
    (home / "draft").write_text("acknowledged")
    disturb(pair, lambda: (home / "draft").rename(home / "final"))
    assert pair.cycle().homes_until == pair.now
    assert (pair.there / "ada" / "final").read_text() == "acknowledged"
    assert not (pair.there / "ada" / "draft").exists()


def test_a_home_whose_files_never_hold_still_holds_the_watermark_back_and_is_named(pair: Pair) -> None:
    home = pair.here / "ada"
    home.mkdir()
    (pair.here / "other").mkdir()
    pair.settle()
    before = pair.now
    (home / "f0").write_text("x")
    (pair.here / "other" / "g").write_text("x")
    names = iter(range(100))

    def churn() -> None:
        n = next(names)
        (home / f"f{n}").rename(home / f"f{n + 1}")

    disturb(pair, churn, times=100)
    result = pair.cycle()
    assert result.homes_until <= before
    assert list(result.held_by) == ["ada"]
    assert (pair.there / "other" / "g").exists()
    disturb(pair, lambda: None)
    pair.new()
    pair.settle()
    assert not pair.cycle().held_by
    pair.equal()


def test_a_link_put_in_a_folders_place_during_the_copy_leaves_nobody_elses_file(pair: Pair) -> None:
    home = pair.here / "ada"
    (home / "d").mkdir(parents=True)
    (pair.here / "other").mkdir()
    (pair.here / "other" / "secret").write_text("other's")
    pair.settle()
    (home / "d" / "secret").write_text("mine")

    def swap() -> None:
        (home / "d").rename(home / "aside")
        (home / "d").symlink_to("../other")

    def back() -> None:
        (home / "d").unlink()
        (home / "aside").rename(home / "d")

    disturb(pair, swap)
    arrived = pair.source.arrived

    def back_first(failed: dict[str, str], vanished: list[str]) -> Batch:
        if (home / "d").is_symlink():
            back()
        return arrived(failed, vanished)

    pair.source.arrived = back_first  # type: ignore[method-assign]
    pair.cycle()
    pair.cycle()
    pair.equal()
    assert (pair.there / "ada" / "d" / "secret").read_text() == "mine"


def test_large_files_arrive_beside_the_others_which_do_not_wait(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubconfig.keeper.cycles.LARGE_WAIT_S", 0)
    home = pair.here / "ada"
    home.mkdir()
    pair.settle()
    before = pair.now
    with (home / "film").open("wb") as stream:
        stream.write(random.Random(1).randbytes(scan.LARGE_BYTES + 5))
    (home / "note").write_text("x")

    class Slow:
        def __init__(self, inner: homes.LargeCopy) -> None:
            self.inner, self.open = inner, False

        def ended(self) -> bool | None:
            return self.inner.ended() if self.open else None

    started: list[Slow] = []
    large = pair.copier.large

    def slow(paths: Any, *, known: bool) -> Any:
        if started:
            return large(paths, known=known)
        started.append(Slow(large(paths, known=known)))
        return started[-1]

    pair.copier.large = slow
    result = pair.cycle()
    assert (pair.there / "ada" / "note").exists()
    assert result.homes_until <= before
    assert result.held_by == {"ada": "a large file of it is being copied"}
    began = pair.now
    pair.cycle()
    started[0].open = True
    monkeypatch.setattr("hubconfig.keeper.cycles.LARGE_WAIT_S", 20)
    result = pair.cycle()
    assert result.homes_until >= began
    pair.cycle()
    assert pair.cycle().homes_until == pair.now
    pair.equal()


def test_a_peer_that_goes_away_in_the_middle_costs_nothing_but_another_cycle(pair: Pair) -> None:
    students = [Student(pair.here / name, n) for n, name in enumerate(("ada", "other"))]
    for round_ in range(6):
        for student in students:
            student.work(20)

        def gone() -> None:
            raise KeeperError("rsync ended with 255")

        def killed_half_way() -> None:
            half = pair.copier
            for name in ("ada",):
                half.whole([name])
            raise KeeperError("rsync ended with 12")

        disturb(pair, gone if round_ % 2 else killed_half_way)
        try:
            pair.cycle()
        except KeeperError:
            pair.new()
        pair.settle()
        pair.equal()


def test_a_path_that_cannot_be_read_holds_back_its_home_only(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "other"):
        (pair.here / name).mkdir()
    pair.settle()
    look = scan.Scanner.look

    def denied(self: scan.Scanner, names: Any, **more: Any) -> Any:
        found = look(self, names, **more)
        return {**found, "ada": PermissionError(13, "Permission denied")} if "ada" in names else found

    monkeypatch.setattr(scan.Scanner, "look", denied)
    (pair.here / "other" / "f").write_text("x")
    before = pair.now
    result = pair.cycle()
    assert result.held_by == {"ada": "it cannot be read: Permission denied"}
    assert result.homes_until <= before
    assert (pair.there / "other" / "f").exists()


def test_rsyncs_complaint_is_laid_at_the_right_home(pair: Pair) -> None:
    copier = Copier(Ends("/srv/homes", "peer:/srv/homes"))
    said = (
        'file has vanished: "/srv/homes/ada/x"\n'
        'rsync: [sender] send_files failed to open "/srv/homes/other/\\#012 ada/y": Permission denied (13)\n'
        "rsync: [generator] cannot delete non-empty directory: bob/d\n"
        "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1338)\n"
    )
    failed, vanished = copier._told(said, {"ada", "other", "bob", "eve"})
    assert vanished == {"ada"}
    assert set(failed) == {"other", "bob"}


def test_names_deeper_or_longer_than_rsync_can_say_are_left_out_and_counted(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    here = os.open(home, os.O_RDONLY)
    for _ in range(scan.MAX_DEPTH + 20):
        os.mkdir("d", dir_fd=here)
        down = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = down
    os.close(here)
    change = scan.Scanner(tmp_path).look(["ada"], until=0, fs_ns=scan.touch(tmp_path))["ada"]
    subprocess.run(["rm", "-rf", home], check=True)
    assert isinstance(change, scan.Change)
    assert change.left_out == 1
    assert len(change.marks) == scan.MAX_DEPTH + 1


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("30 1 8:1 / / rw - ext4 /dev/sda1 rw", 0),
        ("30 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 30 0:40 / /srv/homes rw - nfs4 host:/ rw,vers=4.1,hard", 60),
        ("31 30 0:40 / /srv rw - nfs4 host:/ rw,acregmax=3,acdirmax=5", 5),
        ("31 30 0:40 / /srv rw - nfs4 host:/ rw,noac", 0),
        ("31 30 0:40 / /srv/ho rw - nfs4 host:/ rw", 0),
    ],
)
def test_a_watermark_is_as_much_older_as_nfs_may_have_hidden_a_change(mount: str, expected: float) -> None:
    assert scan.attribute_cache_s(Path("/srv/homes"), mount) == expected


def test_nothing_counts_as_arrived_before_it_is_on_the_other_sites_disk(pair: Pair) -> None:
    (pair.here / "ada").mkdir()
    pair.settle()
    before = pair.now
    (pair.here / "ada" / "f").write_text("x")

    def broken() -> None:
        assert (pair.there / "ada" / "f").exists()
        raise KeeperError("the disk of the other site is full")

    pair.cycles.flush = broken
    with pytest.raises(KeeperError, match="is full"):
        pair.cycle()
    pair.at_work = set()
    pair.new()
    assert pair.source._since["ada"] <= before
    pair.settle()
    pair.equal()
