"""Students' home folders on the volume that every node mounts.

Names are derived from user names, never stored, so that a lost hub database loses no home.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import string
from pathlib import Path

from escapism import escape

HOME_UID = 1000
HOME_GID = 100
HOME_MODE = 0o700
MAX_NAME_CHARS = 200
"""A file name holds 255 bytes; some room for copies with a suffix."""

_SAFE = frozenset(string.ascii_lowercase + string.digits)


class HomeError(RuntimeError):
    """A home folder cannot be used. Its text says which and why."""


def escaped(name: str, max_chars: int = MAX_NAME_CHARS) -> str:
    """`name` with only a-z, 0-9 and `-`, different for every name and at most `max_chars` long.

    Never empty, never `.` or `..`, without `/`; a too long name ends in a hash of the whole one.
    """
    if not name or any(ord(char) < 16 for char in name):
        # escapism writes bytes below 16 with one digit, so two such names could meet
        raise HomeError(f"the user name {name!r} is empty or has control characters; it cannot have a home folder")
    text = escape(name, _SAFE, escape_char="-").lower()
    if len(text) <= max_chars:
        return text
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{text[: max_chars - len(digest) - 3].rstrip('-')}--h{digest}"


def home_path(homes_path: str, username: str) -> Path:
    """Where the user's home is, on every node."""
    return Path(homes_path) / escaped(username)


def ensure_home(homes_path: str, username: str, *, uid: int = HOME_UID, gid: int = HOME_GID) -> Path:
    """Makes the user's home folder (0700, owned by uid:gid) and returns its path. Running it again changes nothing.

    The folder is opened without following links: were `<homes>/<name>` a symbolic link, a student's server could be
    given any folder of the machine.
    """
    name = escaped(username)
    try:
        root = os.open(homes_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HomeError(f"the homes folder {homes_path} cannot be opened: {error.strerror}. Is it mounted?") from None
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, HOME_MODE, dir_fd=root)
        try:
            home = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        except OSError as error:
            raise HomeError(
                f"{homes_path}/{name} is not a folder of its own ({error.strerror}); an admin must look at it"
            ) from None
        try:
            now = os.fstat(home)
            # a second hub start must not cost one write a student, and NFS homes may refuse a needless chown
            if (now.st_uid, now.st_gid) != (uid, gid):
                os.fchown(home, uid, gid)
            if stat.S_IMODE(now.st_mode) != HOME_MODE:
                os.fchmod(home, HOME_MODE)
        finally:
            os.close(home)
    except OSError as error:
        raise HomeError(f"{homes_path}/{name} cannot be made: {error.strerror}") from None
    finally:
        os.close(root)
    return Path(homes_path) / name
