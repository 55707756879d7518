"""Prometheus metrics of the start queue and the cluster; the hub serves them at /hub/metrics (scope read:metrics)."""

from __future__ import annotations

from prometheus_client import REGISTRY as DEFAULT_REGISTRY
from prometheus_client import CollectorRegistry, Gauge, Histogram

from .admission import Admission
from .cluster import Cluster

WAIT_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


def export(admission: Admission, cluster: Cluster, registry: CollectorRegistry = DEFAULT_REGISTRY) -> None:
    """Registers the metrics. They read the queue and the newest snapshot of the cluster when they are scraped."""

    def gauge(name: str, text: str, value: object) -> None:
        Gauge(f"semesterhub_{name}", text, registry=registry).set_function(value)  # type: ignore[arg-type]

    gauge("start_queue_length", "Starts waiting in line", lambda: admission.queued)
    gauge("starts_running", "Starts that hold a slot", lambda: admission.starting)
    gauge("starts_without_room", "Starts for which the cluster has no room", lambda: admission.aside)
    gauge("start_limit", "Starts admitted at once", lambda: admission.limit)
    gauge("cluster_workers", "Nodes that take student servers", lambda: cluster.last_snapshot.capacity().workers)
    gauge("cluster_memory_mib", "Memory for student servers, MiB", lambda: cluster.last_snapshot.capacity().memory_mib)
    gauge(
        "cluster_memory_reserved_mib",
        "Memory reserved by student servers, MiB",
        lambda: cluster.last_snapshot.capacity().reserved_mib,
    )
    gauge("cluster_servers_running", "Student servers that run", lambda: cluster.last_snapshot.capacity().running)
    wait = Histogram(
        "semesterhub_queue_wait_seconds", "Time a start waited in line", registry=registry, buckets=WAIT_BUCKETS_S
    )
    admission.on_admitted = wait.observe
