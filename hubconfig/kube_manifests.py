"""What the hub puts into its cluster: a namespace of its own with walls, a fuse and the homes; placeholders. Pure.

Students' pods are kept from each other and from the cluster as on Swarm: they reach the hub's API, names (DNS) and the
internet, and only the hub VM reaches them. The namespace enforces Kubernetes' strictest pod standard.
"""

from __future__ import annotations

from typing import Any

from .service_spec import SERVER_PORT
from .settings import HubSettings, KubernetesSettings

ROLE_LABEL = "semesterhub.io/role"
SERVER, PLACEHOLDER = "server", "placeholder"
HOMES = "homes"
PRIORITY_CLASS = "semesterhub-placeholder"
PLACEHOLDER_PRIORITY = -10
"""Below this the cluster's autoscaler would ignore a pod that has no room (`expendable-pods-priority-cutoff`)."""
PAUSE_IMAGE = "registry.k8s.io/pause:3.10@sha256:ee6521f290b2168b6e0935a181d4cff9be1ac3f505666ef0e3c98fae8199917a"
NOT_INTERNET = ("169.254.0.0/16",)
"""Cloud metadata services."""
HOMES_SIZE = "1Ti"
"""A number that Kubernetes wants; neither EFS nor Azure Files look at it."""

Manifest = dict[str, Any]


def cluster_of(settings: HubSettings) -> KubernetesSettings:
    """The settings' section; there is one where this module is used."""
    assert settings.kubernetes is not None
    return settings.kubernetes


def homes_volume_name(settings: HubSettings) -> str:
    """Of the volume, which belongs to the whole cluster."""
    return f"semesterhub-{settings.semester}-homes"


def manifests(settings: HubSettings) -> list[tuple[str, Manifest]]:
    """(API path, manifest) of each, in the order in which they are needed."""
    cluster = cluster_of(settings)
    space = f"/api/v1/namespaces/{cluster.namespace}"
    policies = f"/apis/networking.k8s.io/v1/namespaces/{cluster.namespace}/networkpolicies"
    volume = homes_volume_name(settings)
    return [
        (space, _namespace(settings)),
        (f"/apis/scheduling.k8s.io/v1/priorityclasses/{PRIORITY_CLASS}", _priority_class()),
        (f"/api/v1/persistentvolumes/{volume}", _volume(settings)),
        (f"{space}/persistentvolumeclaims/{HOMES}", _claim(settings)),
        (f"{space}/resourcequotas/fuse", _quota(cluster)),
        (f"{policies}/nothing-else", _closed(cluster)),
        (f"{policies}/servers", _servers(settings)),
    ]


def _meta(name: str, namespace: str = "", **labels: str) -> Manifest:
    meta: Manifest = {"name": name, "labels": {"app.kubernetes.io/managed-by": "semesterhub", **labels}}
    return {**meta, "namespace": namespace} if namespace else meta


def _namespace(settings: HubSettings) -> Manifest:
    cluster = cluster_of(settings)
    meta = _meta(cluster.namespace)
    meta["labels"] |= {"pod-security.kubernetes.io/enforce": "restricted", "semesterhub.io/semester": settings.semester}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _priority_class() -> Manifest:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": _meta(PRIORITY_CLASS),
        "value": PLACEHOLDER_PRIORITY,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "Pods that bring nodes before a class; students' pods push them aside",
    }


def _volume(settings: HubSettings) -> Manifest:
    homes, cluster = cluster_of(settings).homes, cluster_of(settings)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": _meta(homes_volume_name(settings)),
        "spec": {
            "capacity": {"storage": HOMES_SIZE},
            "accessModes": ["ReadWriteMany"],
            # Whatever becomes of the claim: files of students are not Kubernetes' to delete.
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "mountOptions": list(homes.mount_options),
            "csi": {
                "driver": homes.driver,
                "volumeHandle": homes.volume_handle,
                "volumeAttributes": dict(homes.attributes),
            },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": HOMES,
                "namespace": cluster.namespace,
            },
        },
    }


def _claim(settings: HubSettings) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(HOMES, cluster_of(settings).namespace),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": homes_volume_name(settings),
            "resources": {"requests": {"storage": HOMES_SIZE}},
        },
    }


def _quota(cluster: KubernetesSettings) -> Manifest:
    hard = {"pods": str(cluster.pods_max), "services": "0", "persistentvolumeclaims": "1"}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": _meta("fuse", cluster.namespace),
        "spec": {"hard": hard},
    }


def _policy(name: str, cluster: KubernetesSettings, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(name, cluster.namespace),
        "spec": spec,
    }


def _closed(cluster: KubernetesSettings) -> Manifest:
    return _policy("nothing-else", cluster, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _servers(settings: HubSettings) -> Manifest:
    cluster = cluster_of(settings)
    hub = {"ipBlock": {"cidr": f"{settings.hub_ip}/32"}}
    names = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    internet = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [cluster.cluster_cidr, *NOT_INTERNET]}}
    dns_ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return _policy(
        "servers",
        cluster,
        {
            "podSelector": {"matchLabels": {ROLE_LABEL: SERVER}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [hub], "ports": [{"protocol": "TCP", "port": SERVER_PORT}]}],
            "egress": [
                {"to": [hub], "ports": [{"protocol": "TCP", "port": settings.hub_api_port}]},
                {"to": [names], "ports": dns_ports},
                {"to": [internet]},
            ],
        },
    )


def tolerations(cluster: KubernetesSettings) -> list[Manifest]:
    """For the taints of the nodes that take students' pods."""
    return [
        {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
        for key, value in sorted(cluster.node_taints.items())
    ]


def placeholder(settings: HubSettings, number: int) -> Manifest:
    """A tiny pod that wants a node without another of its kind: so many of them need so many nodes."""
    cluster = cluster_of(settings)
    own = {ROLE_LABEL: PLACEHOLDER}
    tiny = {"cpu": "10m", "memory": "16Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(placeholder_name(number), cluster.namespace, **own),
        "spec": {
            "priorityClassName": PRIORITY_CLASS,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": dict(cluster.node_labels),
            "tolerations": tolerations(cluster),
            "affinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"labelSelector": {"matchLabels": own}, "topologyKey": "kubernetes.io/hostname"}
                    ]
                }
            },
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65535, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "pause",
                    "image": PAUSE_IMAGE,
                    "resources": {"requests": tiny, "limits": tiny},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def placeholder_name(number: int) -> str:
    """placeholder-1, placeholder-2, …"""
    return f"placeholder-{number}"
