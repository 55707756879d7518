"""The host's Docker, as this provider talks to it: one client a thread, errors as sentences, exec with a deadline."""

from __future__ import annotations

import contextlib
import io
import select
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.base import ProviderError

if TYPE_CHECKING:
    from docker import APIClient

API_TIMEOUT_S = 120
"""For single calls of the Docker API. Stopping a machine with a Docker inside is the slowest."""

THAW_TIMEOUT_S = 20
_local = threading.local()


def client() -> APIClient:
    """This thread's client of the Docker daemon; ProviderError when no daemon answers."""
    found = getattr(_local, "client", None)
    if found is None:
        import docker  # late: 0.35 s that a preview without refresh never pays

        try:
            # The API version is not negotiated but asked for once: 1.41 is Docker 20.10, the oldest with cgroupns.
            found = docker.APIClient(version="1.41", timeout=API_TIMEOUT_S, **_connection())
            found.ping()
        except Exception as error:
            raise ProviderError(
                f"Docker does not answer: {error}. Start it (as root: `systemctl start docker`, or plain `dockerd &`), "
                "and see that this user may use it (group `docker`)."
            ) from error
        _local.client = found
    return found


def _connection() -> dict[str, Any]:
    from docker.utils import kwargs_from_env

    return dict(kwargs_from_env())


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn Docker's errors into `<doing>: <what Docker said>`."""
    from docker.errors import APIError, DockerException
    from requests import RequestException

    try:
        yield
    except APIError as error:
        raise ProviderError(f"{doing}: {error.explanation or error}") from error
    except (DockerException, RequestException) as error:
        raise ProviderError(f"{doing}: {error}") from error


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """Docker's description of a container, network, volume or image; None when there is none."""
    from docker.errors import NotFound

    api = client()
    look = {
        "container": api.inspect_container,
        "network": api.inspect_network,
        "volume": api.inspect_volume,
        "image": api.inspect_image,
    }[kind]
    try:
        with contextlib.suppress(NotFound), explained(f"looking at the Docker {kind} {name}"):
            return look(name)
    except ProviderError as error:
        if not isinstance(error.__cause__, NotFound):
            raise
    return None


def alive(container: Mapping[str, Any]) -> bool:
    """Whether an inspected container really runs. Docker calls one that crashes again and again `Running` as well."""
    state = container["State"]
    return bool(state["Running"]) and not state.get("Restarting") and not state.get("Dead")


def thaw(machine: str) -> None:
    """Unpause what is paused inside of a machine: with cgroup v1 a frozen process is not even killed with it, and the machine
    never ends. A keeper pauses the proxy of a site that may not write. Silent where there is nothing to do."""
    with contextlib.suppress(ProviderError):
        execute(machine, ["sh", "-c", "docker ps -q --filter status=paused | xargs -r docker unpause"], THAW_TIMEOUT_S)


def remove(kind: str, name: str) -> bool:
    """Remove a container (with its anonymous volumes), network or volume by force; False when it is already gone."""
    from docker.errors import APIError, NotFound

    api = client()
    try:
        if kind == "container":
            thaw(name)
            api.remove_container(name, v=True, force=True)
        elif kind == "network":
            api.remove_network(name)
        else:
            api.remove_volume(name, force=True)
    except NotFound:
        return False
    except APIError as error:
        if kind == "container" and error.status_code == 409 and "already in progress" in str(error.explanation):
            _wait_gone(name)
            return True
        raise ProviderError(f"removing the Docker {kind} {name}: {error.explanation or error}") from error
    return True


def _wait_gone(container: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while inspect("container", container) is not None:
        if time.monotonic() > deadline:
            raise ProviderError(
                f"the container {container} is being removed by someone else, but is still there after {timeout_s:g} s"
            )
        time.sleep(0.3)


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended. `exit_code` 124: it ran out of time."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def tail(self) -> str:
        """Its last lines, for a message."""
        return "\n".join((self.stdout + self.stderr).strip().splitlines()[-15:])


TIMED_OUT = 124


def execute(
    container: str,
    command: Sequence[str],
    timeout_s: float,
    *,
    on_line: Callable[[str], None] | None = None,
    cancelled: threading.Event | None = None,
) -> ExecResult:
    """Run a command in a running container, at most `timeout_s` long.

    The time limit holds twice: `timeout` inside ends the command, and the connection is given up shortly after even
    if the daemon hangs. ProviderError when the container does not run. With `cancelled` set it returns at once.
    """
    api = client()
    with explained(f"running {command[0]} in {container}"):
        exec_id = api.exec_create(container, ["timeout", "-k", "5", f"{timeout_s:g}", *command])["Id"]
        raw: Any = api.exec_start(exec_id, socket=True)
    out: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
    deadline = time.monotonic() + timeout_s + 10
    try:
        for stream, chunk in _frames(raw, deadline, cancelled):
            out[2 if stream == 2 else 1] += chunk
            if on_line:
                for line in chunk.decode(errors="replace").splitlines():
                    if line.strip():
                        on_line(line.strip())
    except TimeoutError:
        return ExecResult(TIMED_OUT, out[1].decode(errors="replace"), out[2].decode(errors="replace"))
    finally:
        raw.close()
    with explained(f"running {command[0]} in {container}"):
        code = api.exec_inspect(exec_id)["ExitCode"]
    return ExecResult(
        TIMED_OUT if code is None else int(code), out[1].decode(errors="replace"), out[2].decode(errors="replace")
    )


def _frames(raw: Any, deadline: float, cancelled: threading.Event | None) -> Iterator[tuple[int, bytes]]:
    """Docker's multiplexed stream: 8 bytes of header (stream, length), then that much."""
    connection = getattr(raw, "_sock", raw)
    buffer = bytearray(_read_ahead(raw, connection))
    while True:
        while len(buffer) >= 8:
            stream, length = struct.unpack(">BxxxL", buffer[:8])
            if len(buffer) < 8 + length:
                break
            yield stream, bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]
        left = deadline - time.monotonic()
        if left <= 0 or (cancelled is not None and cancelled.is_set()):
            raise TimeoutError
        if select.select([connection], [], [], min(left, 0.5))[0]:
            chunk = connection.recv(65536)
            if not chunk:
                return
            buffer += chunk


def _read_ahead(raw: Any, connection: Any) -> bytes:
    """What came together with the head of Docker's answer: http.client took it off the socket, and docker-py drops it.

    So all output of a short command is lost where this process had to wait for a core for so long.
    """
    reader = raw._response.raw._fp.fp
    connection.setblocking(False)  # with nothing ahead, the reader would wait for more
    try:
        return reader.peek()
    finally:
        connection.setblocking(True)


def put_files(
    container: str, files: Mapping[str, tuple[bytes, int]], directories: Mapping[str, int] | None = None
) -> None:
    """Write files (absolute path -> content, mode) into a container, owned by root; `directories` (path -> mode) are
    made first. Works on a stopped container as well."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, mode in (directories or {}).items():
            entry = tarfile.TarInfo(path.strip("/"))
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, mode, int(time.time())
            tar.addfile(entry)
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path.strip("/"))
            entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    with explained(f"writing files into {container}"):
        client().put_archive(container, "/", archive.getvalue())
