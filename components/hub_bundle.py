"""What runs on the hub VM: the hub's settings file and the containers around it, rendered from semester and plan.

Pure functions on plain values, the same for every cloud. The result is two JSON texts: `settings.json`, checked
against the hub's own schema here, before anything is touched, and `bundle.json`, which the node agent converges to
(:mod:`components.node_agent.bundle`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from components import history, keeper_config
from components.cloud_nodes import STUDENT_LABEL, STUDENT_TAINT
from components.plan import Plan
from components.schedule import schedule
from components.semester import Semester, authenticator_options, secret_paths
from hubconfig.settings import HubSettings, parse_settings

HUB_IMAGES = ("hub", "proxy", "edge")
HOMES_PATH = "/srv/semesterhub/homes"
STATE_PATH = "/var/lib/semesterhub/state"
SECRETS_PATH = "/var/lib/semesterhub/secrets"
SETTINGS_PATH = "/etc/semesterhub/hub/settings.json"
SETTINGS_MOUNT = {"source": SETTINGS_PATH, "target": "/etc/semesterhub/settings.json", "read_only": True}
HUB_RUN_PATH = "/run/keeper"
"""Where the hub's container has the keeper's folder of this boot (:mod:`hubconfig.keeper.gate`)."""
SITE_PATH = f"{STATE_PATH}/site"
"""What a site knows of its role (:mod:`hubconfig.keeper`)."""

GENERATED_SECRETS = ("cookie_secret", "crypt_key", "proxy_token", "metrics_token", "operator_token")
"""Made on the hub VM at first use; they never leave it."""


def course_images(semester: Semester) -> tuple[str, ...]:
    """Images of the catalogue (folders of hubconfig/images) that the courses use, in order, each once."""
    return tuple(dict.fromkeys(course.image for course in semester.courses if "@" not in course.image))


def settings(
    stack: str,
    semester: Semester,
    plan: Plan,
    images: Mapping[str, str],
    kubernetes: Mapping[str, Any] | None = None,
    server_role: str = "worker",
) -> HubSettings:
    """The hub's settings; ``images`` maps catalogue names to references by digest."""
    return parse_settings(
        {
            "semester": stack,
            "title": semester.title,
            "hub_url": semester.hub_url,
            "hub_ip": plan.hub_ip,
            "orchestrator": semester.orchestrator,
            "server_role": server_role,
            "courses": [
                {
                    "id": course.id,
                    "title": course.title,
                    "image": images.get(course.image, course.image),
                    "cpu_limit": course.cpu_limit,
                    "cpu_guarantee": course.cpu_guarantee,
                    "memory_limit_mib": planned.memory_limit_mib,
                    "memory_guarantee_mib": planned.memory_guarantee_mib,
                    "instructors": course.instructors,
                    "default_url": course.default_url,
                }
                for course, planned in zip(semester.courses, plan.courses, strict=True)
            ],
            "admission": {
                "concurrent_starts": semester.hub.concurrent_starts,
                "concurrent_starts_per_node": semester.hub.concurrent_starts_per_node,
                "start_timeout_s": semester.hub.start_timeout_s,
                "queue_timeout_s": semester.hub.queue_timeout_s,
            },
            "culling": {
                "idle_timeout_s": semester.hub.idle_timeout_s,
                "cull_every_s": semester.hub.cull_every_s,
                "max_age_s": semester.hub.max_age_s,
            },
            "authenticator": {
                "kind": semester.authenticator.kind,
                "options": authenticator_options(semester.authenticator),
            },
            "admins": semester.admins,
            "homes_path": HOMES_PATH,
            **({"kubernetes": cluster_settings(semester, plan, kubernetes)} if kubernetes else {}),
        },
        source="hub settings",
    )


def cluster_settings(semester: Semester, plan: Plan, found: Mapping[str, Any]) -> dict[str, Any]:
    """The settings' section `kubernetes`. ``found`` is what only the deployed cluster knows: `api_url`, `ca_certificate`,
    `cluster_name`, `region`, `homes` (driver, volume_handle, attributes, mount_options), `identity_client_id`."""
    # EKS' pool is an Auto Scaling group with a calendar of its own; AKS' pool only grows for pods that have no room.
    steps = schedule(semester, plan).changes() if semester.cloud == "azure" else ()
    return {
        "cloud": semester.cloud,
        "cluster_cidr": str(plan.cluster_cidr),
        "node_labels": dict([STUDENT_LABEL]),
        "node_taints": dict([STUDENT_TAINT]),
        "pods_max": semester.nodes.max * (plan.workers.servers_per_node + 1),
        "calendar": [{"at": at.isoformat(), "nodes": nodes} for at, nodes in steps],
        **found,
    }


def deployed_secrets(semester: Semester) -> tuple[str, ...]:
    """Secrets that the deployment hands to the hub, by their names in the hub's folder of secrets.

    On this machine they arrive with the bundle's resource; in a cloud the hub VM fetches them from the secret store.
    """
    oauth = ("oauth_client_secret",) if "authenticator.client_secret" in secret_paths(semester) else ()
    if semester.cloud != "local":
        return oauth
    return ("admin_password", *(["student_password"] if semester.authenticator.kind == "demo" else []), *oauth)


def containers(
    semester: Semester, images: Mapping[str, str], *, keeper: bool = False, guarded: bool = False
) -> list[dict[str, Any]]:
    """The containers of the hub VM, in the order of their start: hub, proxy, edge. ``keeper``: it comes first.
    ``guarded``: there is another site, so the hub only runs while this one may write."""
    # With Kubernetes the hub talks to the cluster's API instead of this VM's Docker.
    socket = {"source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}
    here = semester.cloud == "local" and not semester.alone
    tls = "internal" if here else semester.hub.acme_email or "internal"
    run = {"source": keeper_config.RUN_PATH, "target": keeper_config.RUN_PATH}
    lease = {"source": SITE_PATH, "target": SITE_PATH, "read_only": True}
    closed = {"closed_file": keeper_config.CLOSED_FILE} if guarded else {}
    return [
        *([_keeper(semester, images, run, guards=guarded)] if keeper else []),
        {
            "name": "hub",
            "image": images["hub"],
            # Imports JupyterHub without a parser that it never uses: 1.5 CPU-seconds instead of 3.4 at each restart.
            "command": ["python3", "-m", "hubconfig"],
            "mounts": [
                *([socket] if semester.orchestrator == "swarm" else []),
                SETTINGS_MOUNT,
                {"source": SECRETS_PATH, "target": "/run/semesterhub/secrets", "read_only": True},
                {"source": f"{STATE_PATH}/hub", "target": "/srv/jupyterhub"},
                {"source": HOMES_PATH, "target": HOMES_PATH},
                # Not inside of another mount: a folder for it could not be made there.
                *([lease, {**run, "target": HUB_RUN_PATH, "read_only": True}] if guarded else []),
            ],
            "files": [SETTINGS_PATH],
            "secret_files": list(deployed_secrets(semester)),
            "health_url": "http://127.0.0.1:8081/hub/health",
            **({"env": {"SEMESTERHUB_LEASE": f"{SITE_PATH}/lease.json"}} if guarded else {}),
            **closed,
        },
        {
            "name": "proxy",
            "image": images["proxy"],
            "command": [
                "--ip=127.0.0.1", "--port=8000", "--api-ip=127.0.0.1", "--api-port=8001",
                "--default-target=http://127.0.0.1:8081", "--error-path=/opt/semesterhub/errors",
                # The edge has set them; a second value would hide the first.
                "--no-x-forward",
            ],
            "secret_env": {"CONFIGPROXY_AUTH_TOKEN": "proxy_token"},
            "health_url": "http://127.0.0.1:8000/_chp_healthz",
            **closed,
        },
        {
            "name": "edge",
            "image": images["edge"],
            "env": {"SEMESTERHUB_SITE": semester.domain, "SEMESTERHUB_TLS": tls},
            "mounts": [{"source": f"{STATE_PATH}/edge", "target": "/data"}],
            "health_url": "http://127.0.0.1:8002/_edge/health",
        },
    ]  # fmt: skip


def _keeper(semester: Semester, images: Mapping[str, str], run: Mapping[str, Any], *, guards: bool) -> dict[str, Any]:
    """The container that keeps the history of homes and hub state. ``guards``: it also decides whether this site may
    write, ends the hub where not, and copies homes and hub state to the other site."""
    same = (*(["/var/run/docker.sock"] if guards else []), HOMES_PATH, STATE_PATH, SECRETS_PATH)
    # It ends students' pods when the site is fenced; the settings tell where the cluster is.
    ends_pods = guards and semester.orchestrator == "kubernetes"
    return {
        "name": "keeper",
        "image": images["hub"],
        "command": ["python3", "-m", "hubconfig.keeper", "run"],
        "mounts": [
            *({"source": path, "target": path} for path in same),
            *history.mounts(semester),
            dict(run),
            {"source": keeper_config.KEEPER_PATH, "target": keeper_config.KEEPER_PATH, "read_only": True},
            *([SETTINGS_MOUNT] if ends_pods else []),
        ],
        "files": [keeper_config.KEEPER_PATH, *([SETTINGS_PATH] if ends_pods else [])],
    }


def bundle(
    stack: str,
    semester: Semester,
    plan: Plan,
    images: Mapping[str, str],
    *,
    kubernetes: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    keeper: str | None = None,
    own_backups: history.OwnPlace | None = None,
    server_role: str = "worker",
) -> tuple[str, str]:
    """``(settings.json, bundle.json)``. Equal inputs give equal bytes: no change, no diff.

    ``kubernetes``: the settings' section of that name, where students' servers run there; ``more``: further keys;
    ``keeper``: text of the site's keeper.json, by default the cloud's where the semester has a fallback or keeps copies,
    else "" (no keeper); ``own_backups``: where these go unless the semester says; ``server_role``: of the Swarm nodes that run
    students' servers.
    """
    if keeper is None:
        wanted = semester.fallback is not None or history.kept(semester)
        keeper = keeper_config.keeper_config(semester, "cloud", images, own_backups=own_backups) if wanted else ""
    checked = settings(stack, semester, plan, images, kubernetes, server_role)
    settings_text = checked.model_dump_json(indent=1, exclude_none=True) + "\n"
    document: dict[str, Any] = {
        **(more or {}),
        "generated_secrets": list(GENERATED_SECRETS),
        "directories": [
            {"path": f"{STATE_PATH}/hub", "mode": "0700"},
            {"path": f"{STATE_PATH}/edge", "mode": "0700"},
            {"path": HOMES_PATH, "mode": "0755"},
            *([{"path": SITE_PATH, "mode": "0700"}] if keeper else []),
        ],
        "containers": containers(
            semester, images, keeper=bool(keeper), guarded=bool(keeper) and json.loads(keeper)["guards"]
        ),
        **({"texts": {keeper_config.KEEPER_PATH: keeper}} if keeper else {}),
    }
    text = json.dumps(document, sort_keys=True)
    document["revision"] = hashlib.sha256((settings_text + text).encode()).hexdigest()[:16]
    return settings_text, json.dumps(document, sort_keys=True, indent=1) + "\n"


def current(
    stack: str,
    semester: Semester,
    plan: Plan,
    images: Mapping[str, str],
    *,
    kubernetes: Mapping[str, Any] | None = None,
    secrets_revision: str = "",
    own_backups: history.OwnPlace | None = None,
) -> str:
    """The one object `bundle/current.json` that a cloud's machines follow (:mod:`components.node_agent.follow`).

    ``secrets_revision`` is anything that changes with a deployed secret (the store's version number, never the secret):
    the hub VM fetches secrets when this object changes. Workers of a Swarm pull ``worker_images`` before they join.
    """
    swarm = semester.orchestrator == "swarm"
    more: dict[str, Any] = {
        "store_secrets": list(deployed_secrets(semester)),
        "secrets_revision": secrets_revision,
        "worker_images": sorted({images.get(c.image, c.image) for c in semester.courses}) if swarm else [],
    }
    settings_text, bundle_text = bundle(
        stack, semester, plan, images, kubernetes=kubernetes, more=more, own_backups=own_backups
    )
    return json.dumps({"settings": settings_text, "bundle": json.loads(bundle_text)}, sort_keys=True, indent=1) + "\n"
