"""A site that comes back brings what only it holds, overwrites nothing, and comes to the same result however often it is killed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from hubconfig.keeper import config as configuration
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.homes import Copier, Ends, Outcome
from hubconfig.keeper.paths import INCOMING
from hubconfig.keeper.rejoin import Leftover, LocalReturned, LocalStanding, kept_name, pack, rejoin, rejoined, unpack
from hubconfig.keeper.store import write_json
from tests.hubconfig.keeper.trees import Student, held

pytestmark = pytest.mark.unit

AT = 1456913551  # 2016-03-02 10:12:31 UTC


class Back:
    """A returned site and the active one, in two folders."""

    def __init__(self, folder: Path) -> None:
        self.returned, self.active = folder / "returned" / "homes", folder / "active" / "homes"
        for path in (self.returned, self.active):
            path.mkdir(parents=True)
        paths = {name: str(folder / "returned" / name) for name in ("state_path", "secrets_path", "run_path")}
        document = {
            "site": "cloud",
            "hub_url": "https://hub.test",
            "domain": "hub.test",
            "homes_path": str(self.returned),
            **paths,
        }
        self.config = configuration.parse(document)

    def run(self) -> tuple[int, int]:
        copier = Copier(Ends(str(self.returned), str(self.active / INCOMING)))
        return rejoin(LocalReturned(self.config, 4), LocalStanding(self.active), copier, site="cloud", epoch=3)


@pytest.fixture
def back(tmp_path: Path) -> Back:
    return Back(tmp_path)


def write(path: Path, text: str, at: float = AT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))


def test_files_go_where_nothing_is_and_beside_what_differs(back: Back) -> None:
    write(back.returned / "ada" / "hw1.ipynb", "before the power went")
    write(back.active / "ada" / "hw1.ipynb", "after the move")
    write(back.returned / "ada" / "data" / "new.csv", "1,2")
    write(back.returned / "ada" / "same", "x")
    write(back.active / "ada" / "same", "x")
    assert back.run() == (1, 1)
    home = back.active / "ada"
    assert (home / "hw1.ipynb").read_text() == "after the move"
    assert (home / "hw1 (kept from cloud, epoch 3, 2016-03-02 10.12.31).ipynb").read_text() == "before the power went"
    assert (home / "data" / "new.csv").read_text() == "1,2"
    assert sorted(path.name for path in home.iterdir()) == sorted(
        ["hw1.ipynb", "hw1 (kept from cloud, epoch 3, 2016-03-02 10.12.31).ipynb", "data", "same"]
    )
    assert rejoined(back.config, 4)
    assert not rejoined(back.config, 5)


def test_what_the_watermark_covers_is_not_brought_back_from_the_dead(back: Back) -> None:
    write(back.returned / "ada" / "deleted over there", "x")
    looked_at = (back.returned / "ada" / "deleted over there").stat().st_ctime + 1000
    document = {
        "epoch": 3,
        "looked_at": looked_at,
        "since": {"ada": looked_at},
        "homes": ["ada"],
        "compared": "",
        "compared_at": 0,
    }
    write_json(back.config.site_path / "homes.json", document)
    (back.active / "ada").mkdir()
    assert back.run() == (0, 0)
    assert not (back.active / "ada" / "deleted over there").exists()


def test_a_name_that_is_taken_gets_a_number(back: Back) -> None:
    write(back.returned / "ada" / "f", "one")
    write(back.active / "ada" / "f", "two")
    write(back.active / "ada" / "f (kept from cloud, epoch 3, 2016-03-02 10.12.31)", "three")
    back.run()
    assert (back.active / "ada" / "f (kept from cloud, epoch 3, 2016-03-02 10.12.31)").read_text() == "three"
    assert (back.active / "ada" / "f (kept from cloud, epoch 3, 2016-03-02 10.12.31, 2)").read_text() == "one"


def test_a_file_below_what_is_a_file_over_there_is_kept_in_the_home(back: Back) -> None:
    write(back.returned / "ada" / "a" / "b.txt", "deep")
    write(back.active / "ada" / "a", "a file")
    back.run()
    assert (back.active / "ada" / "a").read_text() == "a file"
    assert (back.active / "ada" / "a - b (kept from cloud, epoch 3, 2016-03-02 10.12.31).txt").read_text() == "deep"


def test_a_folder_over_there_stays_one(back: Back) -> None:
    write(back.returned / "ada" / "a", "a file")
    write(back.active / "ada" / "a" / "b", "in a folder")
    back.run()
    assert (back.active / "ada" / "a" / "b").read_text() == "in a folder"
    assert (back.active / "ada" / "a (kept from cloud, epoch 3, 2016-03-02 10.12.31)").read_text() == "a file"


class Killed(Exception):
    pass


class KilledStanding(LocalStanding):
    """The run is killed at the n-th question."""

    def __init__(self, homes: Path, questions: int) -> None:
        super().__init__(homes)
        self.left = questions

    def digests(self, paths: Sequence[bytes]) -> list[str]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super().digests(paths)

    def place(self, paths: Sequence[bytes]) -> None:
        if self.left == 0:
            super().place(paths[: len(paths) // 2])
            raise Killed
        super().place(paths)


class KilledCopier(Copier):
    """The run is killed when half of the files have been copied."""

    def plainly(self, paths: Iterable[bytes]) -> Outcome:
        listed = list(paths)
        super().plainly(listed[: len(listed) // 2])
        raise Killed


@pytest.mark.parametrize("seed", range(6))
def test_random_homes_lose_nothing_and_a_killed_run_repeats_into_the_same(tmp_path: Path, seed: int) -> None:
    results = []
    for kills in (0, 3):
        back = Back(tmp_path / str(kills))
        for name in ("ada", "other"):
            for site, more in ((back.returned, 1), (back.active, 2)):
                student = Student(site / name, seed)
                student.work(30)
                Student(site / name, seed * 7 + more).work(30)
        for top in (back.returned, back.active):
            for folder, folders, files in os.walk(top):
                for name in (*folders, *files):
                    os.utime(Path(folder, name), (AT, AT), follow_symlinks=False)
        before = {name: held(back.active / name) for name in ("ada", "other")}
        only = contents(back.returned) - contents(back.active)
        chance = random.Random(seed)
        for kill in range(kills):
            returned, ends = LocalReturned(back.config, 4), Ends(str(back.returned), str(back.active / INCOMING))
            standing = KilledStanding(back.active, chance.randrange(3)) if kill % 2 else LocalStanding(back.active)
            copier = Copier(ends) if kill % 2 else KilledCopier(ends)
            try:
                rejoin(returned, standing, copier, site="cloud", epoch=3)
            except Killed:
                assert not rejoined(back.config, 4)
        back.run()
        for name, was in before.items():
            now = held(back.active / name)
            assert {path: now.get(path) for path in was} == was
        assert not only - contents(back.active)
        results.append({name: names_and_contents(back.active / name) for name in ("ada", "other")})
    assert results[0] == results[1]


def contents(homes: Path) -> set[tuple[str, bytes]]:
    """Home and content of every file."""
    return {(name, fact[4]) for name in ("ada", "other") for fact in held(homes / name).values() if fact[0] == "file"}  # type: ignore[misc]


def names_and_contents(home: Path) -> dict[str, object]:
    return {name: fact[4] if fact[0] == "file" else fact[1] for name, fact in held(home).items() if fact[0] != "folder"}


def test_a_link_in_a_folders_place_over_there_is_not_followed(back: Back, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write(back.returned / "ada" / "d" / "cron", "* * * * * root id")
    (back.active / "ada").mkdir()
    (back.active / "ada" / "d").symlink_to(outside)
    back.run()
    assert list(outside.iterdir()) == []
    assert (back.active / "ada" / "d").is_symlink()
    assert (back.active / "ada" / "d - cron (kept from cloud, epoch 3, 2016-03-02 10.12.31)").exists()
    standing = LocalStanding(back.active)
    write(back.active / INCOMING / "ada" / "d" / "cron", "* * * * * root id")
    with pytest.raises(KeeperError, match="gets no place"):
        standing.place([b"ada/d/cron"])
    assert list(outside.iterdir()) == []


def test_a_file_made_meanwhile_is_not_overwritten(back: Back) -> None:
    write(back.active / "ada" / "f", "made meanwhile")
    write(back.active / INCOMING / "ada" / "f", "came")
    with pytest.raises(KeeperError, match="looked at again"):
        LocalStanding(back.active).place([b"ada/f"])
    assert (back.active / "ada" / "f").read_text() == "made meanwhile"


def test_a_kept_name_fits_into_a_directory_and_tells_the_ending() -> None:
    item = Leftover(b"ada/d/" + b"n" * 250 + b".ipynb", "", AT)
    name = kept_name(item, "cloud", 3).rpartition(b"/")[2]
    assert len(name) == 255
    assert name.endswith(b" (kept from cloud, epoch 3, 2016-03-02 10.12.31).ipynb")
    assert (
        kept_name(Leftover(b"ada/.bashrc", "", AT), "cloud", 3)
        == b"ada/.bashrc (kept from cloud, epoch 3, 2016-03-02 10.12.31)"
    )


def test_leftovers_travel_with_any_name() -> None:
    items = [Leftover(b"ada/\xff\n", "d", 1.5), Leftover(b"other/x", "", 2.0)]
    assert unpack(*pack(items)) == items
    assert unpack(*pack([])) == []
