"""Run as a program: what is given, in a network of its own whose port leads to a socket of this machine and nowhere else.

    unshare --net python own_network.py SOCKET PORT PROGRAM [ARGUMENT …]

A browser ends what it is doing when this machine's network changes (ERR_NETWORK_CHANGED), and here Docker's networks come and
go all the time. In its own network there is only a loopback that stays as it is, so it cannot talk to anybody else either.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

SIOCSIFFLAGS, IFF_UP, PR_SET_PDEATHSIG = 0x8914, 1, 1


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until one side ends."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()


async def _lead(port: int, path: str, ready: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    os.write(ready, b".")
    await server.serve_forever()


def main(path: str, port: str, *command: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    listening, ready = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the browser takes over the parent's process
        if os.getppid() == parent:
            asyncio.run(_lead(int(port), path, ready))
        os._exit(0)
    os.read(listening, 1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
