"""One restic repository, driven by restic's command line (0.14, as Debian 12 has it).

Nothing secret is an argument: the password is a file, credentials of a cloud are environment variables of restic alone.
restic's own texts stay in :class:`ResticError`; what people read is made from them by :func:`sentence`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import KeeperError

POLL_S = 1.0
STOP_S = 20.0
"""restic told to stop finishes its upload and removes its lock; after so long it is killed."""
INCOMPLETE = 3
"""restic's exit code of a backup that exists, but lacks files that could not be read (they vanished meanwhile)."""

Node = dict[str, Any]


class ResticError(Exception):
    """restic failed. ``text``: the end of what it said."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text, self.code = text, code


def sentence(error: ResticError, repository: str) -> str:
    """What a person should read and do about restic's failure."""
    text = error.text
    if "wrong password or no key found" in text:
        return (
            f"the password on this machine does not open the repository {repository}. It was made with another one: put that "
            "into the file restic_password in the hub's folder of secrets (docs/backups.md)."
        )
    if "already locked" in text:
        holder = text.partition("already locked ")[2].split("\n")[0].strip() or "by somebody"
        return (
            f"the repository {repository} is locked {holder}. If that is a restic of yours, let it finish; the lock of a "
            "process that died is ignored after 30 minutes."
        )
    if "no space left on device" in text.lower():
        return f"the disk of the repository {repository} is full: nothing was added to it. Free space there, or keep fewer copies."
    if "access denied" in text.lower() or "AuthorizationFailure" in text or "AuthorizationPermissionMismatch" in text:
        return (
            f"this machine may not use the repository {repository} ({_last(text)}). Give its identity the right, or hand over "
            "credentials: ./hub backup.credentials"
        )
    return f"restic failed on the repository {repository}: {_last(text)}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal:")]
    return (fatal or lines or ["it said nothing"])[-1].removeprefix("Fatal: ")[:400]


class Restic:
    """Commands on one repository. All raise :class:`ResticError`; KeeperError when ``may_go_on`` says why to stop.

    ``environment``: credentials; ``cache``: folder for restic's metadata, None for a repository on a disk of this machine.
    ``may_go_on`` is asked every second while restic runs: "" or the reason to stop it.
    """

    def __init__(
        self,
        repository: str,
        password_file: Path,
        environment: Mapping[str, str],
        cache: Path | None = None,
        may_go_on: Callable[[], str] = lambda: "",
    ) -> None:
        self.repository = repository
        self._password_file = password_file
        self._cache = cache
        self._may_go_on = may_go_on
        cores = os.cpu_count() or 1
        self._environment = {
            **{
                name: os.environ[name]
                for name in ("PATH", "HOME", "TZ", "TMPDIR", "SSL_CERT_FILE")
                if name in os.environ
            },
            # Each container has the same share of the machine, so niceness does not protect the hub: fewer threads do.
            "GOMAXPROCS": str(max(1, cores // 2)),
            "GOGC": "20",  # half the memory, which the hub VM has little of
            **environment,
        }

    # -- what restic is asked -----------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is a repository. ResticError when that cannot be told (no access, no network)."""
        try:
            self._run("cat", "config", "--no-lock")
        except ResticError as error:
            missing = ("does not exist", "no such file or directory", "not found", "404", "BlobNotFound", "NoSuchKey")
            if "Is there a repository at" in error.text and any(word in error.text for word in missing):
                return False
            raise
        return True

    def init(self) -> None:
        """Make the repository; one that is there already is left alone."""
        try:
            self._run("init", "--repository-version", "2")
        except ResticError as error:
            if "already exists" not in error.text and "already initialized" not in error.text:
                raise

    def backup(
        self,
        paths: Sequence[Path],
        *,
        host: str,
        tags: Sequence[str],
        excludes: Sequence[str],
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """One snapshot of ``paths``; restic's summary, with ``incomplete`` where files could not be read."""
        arguments = ["backup", "--json", "--host", host, "--exclude-caches"]
        arguments += [word for tag in tags for word in ("--tag", tag)]
        arguments += [word for pattern in excludes for word in ("--exclude", pattern)]
        if at is not None:
            arguments += ["--time", at.strftime("%Y-%m-%d %H:%M:%S")]
        code, out, problems = self._result(*arguments, *map(str, paths))
        summary = next((row for row in reversed(list(_rows(out))) if row.get("message_type") == "summary"), None)
        if code not in (0, INCOMPLETE) or summary is None:
            raise ResticError(problems or out[-2000:], code)
        return {**summary, "incomplete": code == INCOMPLETE, "problems": problems[-2000:] if code else ""}

    def snapshots(self) -> list[dict[str, Any]]:
        """All snapshots, oldest first: `id`, `time` (ISO), `hostname`, `tags`, `paths`, `tree`."""
        found = json.loads(self._run("snapshots", "--json", "--no-lock") or "null") or []
        return sorted(found, key=lambda snapshot: moment(snapshot["time"]))

    def list(self, snapshot: str, folder: str, *, recursive: bool = False) -> list[Node]:
        """What ``folder`` held: nodes with `name`, `type`, `path`, `size`, `mtime`, `uid`; the folder itself is not in it."""
        more = ["--recursive"] if recursive else []
        rows = _rows(self._run("ls", "--json", "--no-lock", *more, snapshot, folder))
        return [row for row in rows if row.get("struct_type") == "node" and row["path"] != folder]

    def restore(self, snapshot: str, target: Path, includes: Sequence[str]) -> None:
        """Restore below ``target`` (whole paths), and have restic read every restored file again and compare."""
        chosen = [word for path in includes for word in ("--include", path)]
        self._run("restore", snapshot, "--target", str(target), "--verify", *chosen)

    def cat_blob(self, name: str) -> bytes:
        """A blob's content: a part of a file, or a folder's description as JSON."""
        return self._bytes("cat", "blob", name, "--no-lock")

    def forget(self, hourly: int, daily: int, weekly: int, *, host: str) -> int:
        """Drop snapshots beyond those to keep; how many were dropped. Their data stays until :meth:`prune`."""
        keep = [("hourly", hourly), ("daily", daily), ("weekly", weekly)]
        wanted = [word for name, count in keep if count for word in (f"--keep-{name}", str(count))]
        groups = (
            json.loads(self._run("forget", "--json", "--host", host, "--group-by", "host", *wanted) or "null") or []
        )
        return sum(len(group.get("remove") or []) for group in groups)

    def prune(self) -> None:
        """Give back the space of what no snapshot needs."""
        self._run("prune", "--max-unused", "10%")

    def pack_count(self) -> int:
        """Number of the repository's files of data, each about 16 MiB."""
        return len(self._run("list", "packs", "--no-lock").split())

    def check(self, part: int, parts: int) -> None:
        """Check structure, and read one of ``parts`` equal parts of all data, the ``part``-th from 1."""
        self._run("check", "--read-data-subset", f"{part}/{parts}")

    def locks(self) -> list[dict[str, Any]]:
        """Locks in the repository: `hostname`, `pid`, `time`, `exclusive`."""
        found: list[dict[str, Any]] = []
        for name in self._run("list", "locks", "--no-lock").split():
            try:
                found.append(json.loads(self._run("cat", "lock", name, "--no-lock")))
            except ResticError:
                continue  # its owner has just removed it
        return found

    def unlock(self, *, everything: bool) -> None:
        """Remove locks that restic itself calls stale, or all."""
        self._run("unlock", *(["--remove-all"] if everything else []))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _run(self, *arguments: str) -> str:
        return self._bytes(*arguments).decode(errors="replace")

    def _bytes(self, *arguments: str) -> bytes:
        code, out, problems = self._raw(*arguments)
        if code:
            raise ResticError(problems or out[-2000:].decode(errors="replace"), code)
        return out

    def _result(self, *arguments: str) -> tuple[int, str, str]:
        code, out, problems = self._raw(*arguments)
        return code, out.decode(errors="replace"), problems

    def _raw(self, *arguments: str) -> tuple[int, bytes, str]:
        cache = ["--cache-dir", str(self._cache)] if self._cache else ["--no-cache"]
        command = ["restic", "--repo", self.repository, "--password-file", str(self._password_file), *cache, *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise KeeperError(
                "restic is not installed here. It is part of the hub image: deploy the semester again (./hub up)."
            ) from None
        try:
            while True:
                try:
                    out, problems = process.communicate(timeout=POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if reason := self._may_go_on():
                        raise KeeperError(reason) from None
        finally:
            _end(process)
        return process.returncode, out, problems.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """restic does not outlive its caller, whatever ends it: asked to stop first, so that it removes its lock."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _rows(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def moment(text: str) -> datetime:
    """A time as restic writes it: RFC 3339 with nanoseconds, which Python does not read."""
    head, _, rest = text.partition(".")
    if rest:
        digits = rest.rstrip("Z")
        for sign in "+-":
            digits = digits.partition(sign)[0]
        text = f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}"
    return datetime.fromisoformat(text)
