"""A student's server on Kubernetes: one pod with the same queue, courses, limits and homes as on Swarm.

kubespawner makes the pod's description; starting, watching and ending it is `class_spawner.py`'s work, as on Swarm.
A pod has an address of the cloud's network, so the hub VM's proxy reaches it directly.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, ClassVar

from kubespawner import KubeSpawner
from traitlets import Instance, Unicode, default

from .class_spawner import ClassSpawner
from .cluster import LABEL_COURSE, LABEL_USER, Cluster
from .kube import Kubernetes
from .kube_api import KubeApi, connection, for_kubespawner
from .kube_manifests import HOMES, ROLE_LABEL, SERVER, cluster_of, tolerations
from .service_spec import HOME_MOUNT, SERVER_USER, STOP_GRACE_S, service_name
from .settings import CourseSettings, HubSettings

UID, GID = (int(part) for part in SERVER_USER.split(":"))


class SemesterKubeSpawner(ClassSpawner, KubeSpawner):  # pyright: ignore[reportIncompatibleMethodOverride]
    """JupyterHub's spawner for student servers on Kubernetes."""

    kube_api = Instance(KubeApi, help="The cluster's API.").tag(config=True)
    object_id = Unicode()
    object_name = Unicode()

    # of all spawners; each class has a queue of its own
    _desk: ClassVar[Any] = None

    @default("object_name")
    def _object_name_default(self) -> str:
        return service_name(self._username, self.name)

    @property
    def _username(self) -> str:
        user: Any = self.user  # kubespawner's types only know the user of its own tests
        return user.name

    def _cluster(self) -> Cluster:
        return Kubernetes(self.kube_api, cluster_of(self.hub_settings))

    def _kubernetes(self) -> Kubernetes:
        cluster = self.cluster
        assert isinstance(cluster, Kubernetes)
        return cluster

    async def _create(self, course: CourseSettings, home: str) -> None:
        self.pod_name = self.object_name
        self.volume_mounts = [{"name": HOMES, "mountPath": HOME_MOUNT, "subPath": PurePath(home).name}]
        self.extra_annotations = {LABEL_USER: self._username, LABEL_COURSE: course.id}
        manifest = await self.get_pod_manifest()
        await self._kubernetes().create(self.api.api_client.sanitize_for_serialization(manifest))
        self.object_id = self.object_name


def configure(c: Any, settings: HubSettings, folder: Path) -> None:
    """Writes the spawner's part of the configuration. `folder` is for the connection's files. Raises SettingsError."""
    cluster = cluster_of(settings)
    made = connection(cluster, folder)
    for_kubespawner(made, folder)
    section = c.SemesterKubeSpawner
    section.kube_api = KubeApi(made)
    section.namespace = cluster.namespace
    section.uid, section.gid = UID, GID
    section.image_pull_policy = "IfNotPresent"  # pinned by digest: what is there is right
    section.allow_privilege_escalation = False
    section.automount_service_account_token = False
    section.events_enabled = False
    section.extra_labels = {ROLE_LABEL: SERVER}
    section.node_selector = dict(cluster.node_labels)
    section.tolerations = tolerations(cluster)
    section.volumes = [{"name": HOMES, "persistentVolumeClaim": {"claimName": HOMES}}]
    section.container_security_context = {"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    section.pod_security_context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    section.extra_pod_config = {
        # a server that ended is over: the hub tells the student and a new one starts with a new token
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": STOP_GRACE_S,
        "enableServiceLinks": False,
    }
