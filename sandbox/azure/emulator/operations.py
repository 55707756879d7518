"""Work that takes time: answered at once, asked about later.

https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

import time
from typing import Any

from sandbox.azure.emulator.errors import ArmError
from sandbox.azure.emulator.store import Operation, Resource, Store


class Answer(tuple[int, dict[str, Any] | None, Operation | None]):
    """Status, body, and the operation that goes on."""

    __slots__ = ()

    def __new__(cls, status: int, body: dict[str, Any] | None = None, operation: Operation | None = None) -> Answer:
        return super().__new__(cls, (status, body, operation))


class Operations:
    """Operations of one cloud. Nothing runs: each look finds what is due by the clock."""

    def __init__(self, store: Store, duration_s: float) -> None:
        self.store = store
        self.duration_s = duration_s

    def begin(self, resource: Resource, verb: str, fails: ArmError | None = None) -> Operation:
        """`verb`: Creating, Updating, Deleting. With `fails` it ends that way."""
        number = self.store.next()
        operation = Operation(
            id=f"op{number:06d}",
            resource=resource.key,
            verb=verb,
            ready_at=time.time() + self.duration_s,
            error=fails.body()["error"] if fails else None,
            then="Failed" if fails else "Succeeded",
        )
        resource.state, resource.ready_at = verb, operation.ready_at
        self.store.state.operations[operation.id] = operation
        return operation

    def due(self) -> list[Operation]:
        """Those that are over by now and still marked as going on; marks them."""
        now = time.time()
        over = [o for o in self.store.state.operations.values() if o.status == "InProgress" and o.ready_at <= now]
        for operation in over:
            operation.status = operation.then
        return over

    def body(self, operation: Operation) -> dict[str, Any]:
        """What a client sees when it asks."""
        body: dict[str, Any] = {"name": operation.id, "status": operation.status}
        if operation.error and operation.status == "Failed":
            body["error"] = operation.error
        return body
