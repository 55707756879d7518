"""Students' homes: nobody's name reaches anybody else's folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubconfig.homes import MAX_NAME_CHARS, HomeError, ensure_home, escaped
from hubconfig.service_spec import service_name

pytestmark = pytest.mark.unit

NAMES = st.text(alphabet=st.characters(min_codepoint=16, exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(NAMES)
def test_a_folder_name_is_plain_whatever_the_user_name(name: str) -> None:
    result = escaped(name)
    assert set(result) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(result) <= MAX_NAME_CHARS


@given(NAMES, NAMES)
def test_two_users_never_share_a_folder_or_a_service(one: str, other: str) -> None:
    if one != other:
        assert escaped(one) != escaped(other)
        assert service_name(one) != service_name(other)


@given(NAMES, NAMES)
def test_a_service_name_is_one_that_swarm_takes(name: str, server: str) -> None:
    for result in (service_name(name), service_name(name, server)):
        assert len(result) <= 63
        assert result[0].isalnum()
        assert result[-1].isalnum()


def test_a_named_server_is_not_another_users_server() -> None:
    assert service_name("a", "b") != service_name("a")
    assert len({service_name("a", "b-c"), service_name("a-b", "c"), service_name("a", "b/c")}) == 3


@pytest.mark.parametrize("name", ["../../etc", "..", ".", "/", "a/../b", "-", "~root"])
def test_hostile_names_stay_below_the_homes_folder(tmp_path: Path, name: str) -> None:
    home = ensure_home(str(tmp_path), name, uid=os.getuid(), gid=os.getgid())
    assert home.parent == tmp_path
    assert home.resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize("name", ["", "a\nb", "\x00"])
def test_a_name_without_a_folder_is_refused(name: str) -> None:
    with pytest.raises(HomeError):
        escaped(name)


def test_a_home_is_private_and_made_once(tmp_path: Path) -> None:
    uid, gid = os.getuid(), os.getgid()
    home = ensure_home(str(tmp_path), "ada", uid=uid, gid=gid)
    (home / "work.txt").write_text("kept")
    home.chmod(0o755)
    assert ensure_home(str(tmp_path), "ada", uid=uid, gid=gid) == home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "work.txt").read_text() == "kept"


def test_a_link_in_place_of_a_home_is_not_followed(tmp_path: Path) -> None:
    homes, elsewhere = tmp_path / "homes", tmp_path / "elsewhere"
    homes.mkdir()
    elsewhere.mkdir(mode=0o755)
    (homes / "eve").symlink_to(elsewhere)
    with pytest.raises(HomeError, match="not a folder of its own"):
        ensure_home(str(homes), "eve", uid=os.getuid(), gid=os.getgid())
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_a_missing_volume_says_so(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="Is it mounted"):
        ensure_home(str(tmp_path / "none"), "ada")
