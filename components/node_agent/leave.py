"""A worker that its cloud takes away: from the notice to an empty machine that has left the Swarm.

The worker says so in a label of its own Docker engine. Swarm carries that label to the manager over the connection
that the node's certificate opened, so no port, no token and no right over other nodes is needed: a worker can ask for
its own drain and for nothing else. Labels travel every 20 s (swarmkit's nodeUpdatePeriod; measured: 18 s). What the
manager does then is in :mod:`node_agent.drains`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from . import boot
from .config import DRAIN_LABEL, NodeConfig
from .notice import Notice
from .secretstore import cloud_of
from .shell import docker, run, say, write_file

LOOK_EVERY_S = 5.0
HEARTBEAT_EVERY_S = 60.0
CORDONED_AFTER_S = 40.0
"""After this long a manager that is alive has read the label (20 s) and looked (5 s); one that is not starts nothing."""
EMPTY_FOR_S = 10.0
REJOIN_AFTER_S = 600.0
"""An event that was acknowledged is gone from the list some time before the machine is."""
STOP_S = 90.0
"""What the manager takes to stop the servers that are left."""


def ask_for_drain(node: NodeConfig, wait_s: float) -> None:
    """Puts the wish into Docker's labels; dockerd reads them again on SIGHUP, without touching a container."""
    config = {**boot.daemon_config(node), "labels": [f"{DRAIN_LABEL}={wait_s:.0f}"]}
    write_file(boot.DAEMON_FILE, json.dumps(config, indent=2) + "\n")
    run("pkill", "-HUP", "-x", "dockerd")


def servers_here() -> int:
    return len(docker("ps", "-q", "--filter", "label=semesterhub.user").split())


def leave(node: NodeConfig, cloud: Any, notice: Notice) -> None:
    """From the notice to an empty machine that has left the Swarm."""
    say(f"{notice.reason}; students get {notice.wait_s:.0f} s")
    ask_for_drain(node, notice.wait_s)
    start = time.monotonic()
    empty_since = heartbeat = start
    while (now := time.monotonic()) < start + CORDONED_AFTER_S + notice.wait_s + STOP_S:
        if servers_here():
            empty_since = now
        if now - max(empty_since, start + CORDONED_AFTER_S) >= EMPTY_FOR_S:
            break
        if now - heartbeat >= HEARTBEAT_EVERY_S:
            heartbeat = now
            cloud.still_draining(notice)
        time.sleep(LOOK_EVERY_S)
    docker("swarm", "leave", "--force", check=False)
    cloud.gone(notice)
    say("left the Swarm; the cloud may take this machine")


class Leave:
    """One look at a time."""

    def __init__(self, node: NodeConfig) -> None:
        self.node = node
        self.cloud = cloud_of(node)
        self.left = ""
        self.noticed = 0.0

    def look(self) -> None:
        notice = self.cloud.notice()
        now = time.monotonic()
        if notice:
            if notice.id != self.left:
                leave(self.node, self.cloud, notice)
                self.left = notice.id
            self.noticed = time.monotonic()
        elif self.left and now - self.noticed > REJOIN_AFTER_S:
            say("the cloud changed its mind: joining again")
            boot.boot(self.node)
            self.left = ""
