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

from components.plan import Plan
from components.semester import Semester, authenticator_options
from hubconfig.settings import HubSettings, parse_settings

HUB_IMAGES = ("hub", "proxy", "edge")
HOMES_PATH = "/srv/semesterhub/homes"
STATE_PATH = "/var/lib/semesterhub/state"
SECRETS_PATH = "/var/lib/semesterhub/secrets"
SETTINGS_PATH = "/etc/semesterhub/hub/settings.json"

GENERATED_SECRETS = ("cookie_secret", "crypt_key", "proxy_token", "metrics_token", "operator_token")
"""Made on the hub VM at first use; they never leave it."""


def course_images(semester: Semester) -> tuple[str, ...]:
    """Images of the catalogue (folders of hubconfig/images) that the courses use, in order, each once."""
    return tuple(dict.fromkeys(course.image for course in semester.courses if "@" not in course.image))


def settings(stack: str, semester: Semester, plan: Plan, images: Mapping[str, str]) -> HubSettings:
    """The hub's settings; ``images`` maps catalogue names to references by digest."""
    return parse_settings(
        {
            "semester": stack,
            "title": semester.title,
            "hub_url": semester.hub_url,
            "hub_ip": plan.hub_ip,
            "orchestrator": semester.orchestrator,
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
        },
        source="hub settings",
    )


def containers(semester: Semester, images: Mapping[str, str]) -> list[dict[str, Any]]:
    """The containers of the hub VM, in the order of their start: hub, proxy, edge."""
    tls = "internal" if semester.cloud == "local" else semester.hub.acme_email or "internal"
    return [
        {
            "name": "hub",
            "image": images["hub"],
            # Imports JupyterHub without a parser that it never uses: 1.5 CPU-seconds instead of 3.4 at each restart.
            "command": ["python3", "-m", "hubconfig"],
            "mounts": [
                {"source": "/var/run/docker.sock", "target": "/var/run/docker.sock"},
                {"source": SETTINGS_PATH, "target": "/etc/semesterhub/settings.json", "read_only": True},
                {"source": SECRETS_PATH, "target": "/run/semesterhub/secrets", "read_only": True},
                {"source": f"{STATE_PATH}/hub", "target": "/srv/jupyterhub"},
                {"source": HOMES_PATH, "target": HOMES_PATH},
            ],
            "files": [SETTINGS_PATH],
            "secret_files": ["admin_password", *(["student_password"] if semester.authenticator.kind == "demo" else [])],
            "health_url": "http://127.0.0.1:8081/hub/health",
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
        },
        {
            "name": "edge",
            "image": images["edge"],
            "env": {"SEMESTERHUB_SITE": semester.domain, "SEMESTERHUB_TLS": tls},
            "mounts": [{"source": f"{STATE_PATH}/edge", "target": "/data"}],
            "health_url": "http://127.0.0.1:8002/_edge/health",
        },
    ]  # fmt: skip


def bundle(stack: str, semester: Semester, plan: Plan, images: Mapping[str, str]) -> tuple[str, str]:
    """``(settings.json, bundle.json)``. Equal inputs give equal bytes: no change, no diff."""
    settings_text = settings(stack, semester, plan, images).model_dump_json(indent=1) + "\n"
    document: dict[str, Any] = {
        "generated_secrets": list(GENERATED_SECRETS),
        "directories": [
            {"path": f"{STATE_PATH}/hub", "mode": "0700"},
            {"path": f"{STATE_PATH}/edge", "mode": "0700"},
            {"path": HOMES_PATH, "mode": "0755"},
        ],
        "containers": containers(semester, images),
    }
    text = json.dumps(document, sort_keys=True)
    document["revision"] = hashlib.sha256((settings_text + text).encode()).hexdigest()[:16]
    return settings_text, json.dumps(document, sort_keys=True, indent=1) + "\n"
