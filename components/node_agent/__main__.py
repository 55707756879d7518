"""``semesterhub-node``: what a machine of a semester does to itself, and what the hub VM does to the cluster."""

from __future__ import annotations

import argparse
import json
import sys

from . import boot
from .config import STATUS_FILE, AgentError, load
from .shell import write_file


def record(phase: str, message: str = "") -> None:
    write_file(STATUS_FILE, json.dumps({"phase": phase, "message": message}))


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="semesterhub-node", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("boot", help="configure Docker and the packet filter, form or join the Swarm")
    for name, text in (
        ("status", "phase of this machine: booting, ready or failed"),
        ("bundle-status", "whether the hub's containers run as described"),
        ("report", "nodes, servers, memory (hub VM)"),
    ):
        commands.add_parser(name, help=text).add_argument("--json", action="store_true")
    commands.add_parser("follow", help="converge to the newest bundle once (in a cloud)")
    commands.add_parser("watch", help="follow the bundle, and drain before the cloud takes a machine (in a cloud)")
    commands.add_parser("apply", help="converge the hub's containers to bundle.json (hub VM)")
    drain = commands.add_parser("drain", help="cordon a worker, wait, stop, drain, remove (hub VM)")
    drain.add_argument("hostname")
    drain.add_argument("--timeout", type=float, default=300, metavar="S")
    forget = commands.add_parser("forget", help="remove Swarm entries of a machine that is gone (hub VM)")
    forget.add_argument("hostname")
    return root


def dispatch(arguments: argparse.Namespace) -> object:
    if arguments.command == "status":
        return json.loads(STATUS_FILE.read_text()) if STATUS_FILE.exists() else {"phase": "booting", "message": ""}
    if arguments.command == "bundle-status":
        from . import bundle

        return bundle.status()
    node = load()
    if arguments.command == "boot":
        record("booting")
        try:
            boot.boot(node)
        except (AgentError, OSError) as error:
            record("failed", str(error))
            raise AgentError(str(error)) from error
        record("ready")
        return None
    if arguments.command in ("follow", "watch"):
        from . import follow, watch

        return follow.once(node) if arguments.command == "follow" else watch.watch(node)
    from . import bundle, swarm

    swarm.require_manager(node)
    if arguments.command == "apply":
        return {"started": bundle.apply(bundle.load_bundle())}
    if arguments.command == "drain":
        return swarm.drain(node, arguments.hostname, arguments.timeout)
    if arguments.command == "forget":
        return {"forgotten": swarm.forget(arguments.hostname)}
    return swarm.report(node)


def main() -> int:
    try:
        result = dispatch(parser().parse_args())
    except AgentError as error:
        print(f"semesterhub-node: {error}", file=sys.stderr)
        return 1
    if result is not None:
        print(result if isinstance(result, str) else json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
