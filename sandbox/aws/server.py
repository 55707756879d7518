"""The AWS emulator's process, run by sandbox/emulator.py: moto's settings, the front door, the socket."""

from __future__ import annotations

import logging
import os
import sys

from sandbox.aws import world
from sandbox.emulator import child
from sandbox.faults import Gate

SETTINGS = {
    # Refuse what AWS would: unknown images, instance types, key pairs. See the documentation of moto's settings.
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
}


def main() -> None:
    """Serve until the command that started it ends."""
    process = child(__doc__ or "")
    os.environ.update(SETTINGS)
    os.environ["MOTO_ACCOUNT_ID"] = str(world.facts(os.environ).get("account") or world.DEFAULT_ACCOUNT)
    try:
        gate = Gate.from_environment(process.state_dir, os.environ)
    except ValueError as error:
        sys.exit(str(error))
    from sandbox.aws.front import Front  # moto reads its settings when it is imported

    front = Front(process, gate)
    front.replay()
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = process.listener.getsockname()[:2]
    server = make_server(host, port, front, threaded=True, fd=process.listener.fileno())
    process.end_with_parent(server.shutdown)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
