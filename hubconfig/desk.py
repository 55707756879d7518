"""The hub's one desk for starts: the queue, the cluster it looks at, and the sentences that waiting students read."""

from __future__ import annotations

import asyncio
from logging import Logger
from typing import Any

from . import metrics
from .admission import Admission, Place, Stage, Ticket, place_text
from .cluster import Cluster, Task
from .settings import AdmissionSettings

REFRESH_EVERY_S = 5.0


class StartDesk:
    """Shared by the spawners of one hub."""

    def __init__(self, rules: AdmissionSettings, cluster: Cluster, log: Logger) -> None:
        self.rules = rules
        self.log = log
        self.cluster = cluster
        self.admission = Admission(self._limit)
        self._refresher: asyncio.Task[None] | None = None

    def export_metrics(self) -> None:
        """Makes the queue and the cluster visible on /hub/metrics. Once in a process."""
        metrics.export(self.admission, self.cluster)

    async def _limit(self) -> int:
        return (
            self.rules.concurrent_starts or self.rules.concurrent_starts_per_node * await self.cluster.ready_workers()
        )

    def keep_fresh(self) -> None:
        """Starts, once, the loop that renews the queue's limit and the picture of the cluster."""
        if self._refresher is None or self._refresher.done():
            self._refresher = asyncio.create_task(self._refresh_forever())

    async def _refresh_forever(self) -> None:
        while True:
            try:
                await self.admission.refresh()
                await self.cluster.snapshot(REFRESH_EVERY_S)
            except self.cluster.trouble as error:
                self.log.warning("The %s could not be asked: %s", self.cluster.kind, error)
            await asyncio.sleep(REFRESH_EVERY_S)

    # -- what the student sees ----------------------------------------------------------------------------------------

    def progress_event(self, ticket: Ticket | None, task: Task | None) -> dict[str, Any]:
        """JupyterHub's progress event for a start; `queue` and `full` are additions for this hub's own page."""
        if ticket is None:
            return {"progress": 1, "message": "Your server is requested."}
        if ticket.stage is Stage.QUEUED:
            return self._queue_event(ticket.place)
        if ticket.stage is Stage.ASIDE:
            text = f"{self._full_text()} You are next."
            return {"progress": 10, "message": text, "full": True, "queue": _queue(Place(Stage.QUEUED, 1, None))}
        state = task.state if task else "new"
        if state == "running":
            return {"progress": 70, "message": "Your server is starting up."}
        if state in {"preparing", "ready", "starting"}:
            return {"progress": 45, "message": "Your server is being made."}
        return {"progress": 20, "message": "It is your turn: your server gets its place on a node."}

    def _queue_event(self, place: Place) -> dict[str, Any]:
        if not self.admission.aside:
            return {"progress": 5, "message": place_text(place), "queue": _queue(place)}
        return {
            "progress": 5,
            "message": f"{self._full_text()} {place_text(place)}",
            "queue": _queue(place),
            "full": True,
        }

    def _full_text(self) -> str:
        capacity = self.cluster.last_snapshot.capacity()
        waiting = self.admission.waiting
        if capacity.workers == 0:
            return (
                f"No node for student servers is ready at the moment ({waiting} waiting). "
                "Your server starts as soon as one is."
            )
        return (
            f"The cluster is full: {capacity.running} servers running, {waiting} waiting. "
            "Your server starts when a place is free or new nodes arrive."
        )

    def gave_up_text(self) -> str:
        """For a start that waited too long."""
        minutes = max(1, round(self.rules.queue_timeout_s / 60))
        return (
            f"Your server found no place within {minutes} minutes, so the hub stopped waiting. "
            "Start it again from Home, and tell your instructor that the cluster is full."
        )


def _queue(place: Place) -> dict[str, Any]:
    return {"position": place.position, "ahead": place.ahead, "estimate_s": place.estimate_s}
