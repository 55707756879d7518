"""JupyterHub's configuration: from the settings file and the secrets to `c`. No decisions of a semester are made here.

Environment: SEMESTERHUB_SETTINGS, SEMESTERHUB_SECRETS_DIR (see settings.py) and, for tests,
SEMESTERHUB_STATE_DIR (default /srv/jupyterhub) and SEMESTERHUB_PROXY_API (default http://127.0.0.1:8001).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from pathlib import Path

from traitlets.config import Config

from hubconfig import access, authenticators
from hubconfig.routes import GuardedProxy
from hubconfig.settings import SettingsError, load_settings, read_secret

c: Config = get_config()  # pyright: ignore[reportUndefinedVariable]  # JupyterHub's loader provides it

HERE = Path(__file__).resolve().parent
STATE = Path(os.environ.get("SEMESTERHUB_STATE_DIR", "/srv/jupyterhub"))
DATABASE = STATE / "jupyterhub.sqlite"


def key_from(secret: str) -> bytes:
    """32 bytes from a secret of any alphabet."""
    return hashlib.sha256(read_secret(secret).encode()).digest()


try:
    settings = load_settings()
    COOKIE_SECRET, CRYPT_KEY, PROXY_TOKEN = key_from("cookie_secret"), key_from("crypt_key"), read_secret("proxy_token")
    SERVICES = access.services(settings)
    authenticators.configure(c, settings)
except SettingsError as error:
    sys.exit(f"JupyterHub cannot start: {error}")

admission, culling = settings.admission, settings.culling

# -- the hub itself ---------------------------------------------------------------------------------------------------
STATE.mkdir(parents=True, exist_ok=True)
with sqlite3.connect(DATABASE) as database:
    # readers do not wait for the writer; a property of the file, so it holds for the hub's own connections
    database.execute("PRAGMA journal_mode=WAL")
database.close()
access.drop_stale_memberships(DATABASE, settings)

c.JupyterHub.db_url = f"sqlite:///{DATABASE}"
c.JupyterHub.cookie_secret = COOKIE_SECRET
c.CryptKeeper.keys = [CRYPT_KEY]
c.JupyterHub.pid_file = ""
c.JupyterHub.hub_bind_url = f"http://0.0.0.0:{settings.hub_api_port}"
c.JupyterHub.hub_connect_url = f"http://{settings.hub_ip}:{settings.hub_api_port}"
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
# TLS ends at the edge: cookies are secure and redirects checked against what the browser sees
c.JupyterHub.public_url = f"{settings.hub_url}/"
c.JupyterHub.trusted_downstream_ips = ["127.0.0.1", "::1", settings.hub_ip]

# a stopped, killed or replaced hub never takes a student's server with it
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.shutdown_on_logout = False
c.JupyterHub.allow_named_servers = False
# the hub answers at once after a restart and checks its servers in the background
c.JupyterHub.init_spawners_timeout = 1
c.JupyterHub.concurrent_spawn_limit = 0  # admission.py does this, in the open
c.JupyterHub.active_server_limit = 0
c.JupyterHub.tornado_settings.update({"slow_spawn_timeout": 0})  # the page with the queue shows at once

# writing every activity costs a write each; but what is not written looks idle to the culler
c.JupyterHub.activity_resolution = max(1, min(6000, culling.idle_timeout_s // 6))
c.JupyterHub.last_activity_interval = max(10, min(300, culling.idle_timeout_s // 4))
c.JupyterHub.authenticate_prometheus = True

# -- the proxy runs by itself -----------------------------------------------------------------------------------------
c.JupyterHub.proxy_class = GuardedProxy
c.GuardedProxy.should_start = False
c.GuardedProxy.api_url = os.environ.get("SEMESTERHUB_PROXY_API", "http://127.0.0.1:8001")
c.GuardedProxy.auth_token = PROXY_TOKEN

# -- students' servers ------------------------------------------------------------------------------------------------
if settings.orchestrator == "swarm":
    from hubconfig.spawner import SemesterSpawner

    c.JupyterHub.spawner_class = SemesterSpawner
    c.SemesterSpawner.placement_constraints = [f"node.role=={settings.server_role}"]
else:
    # Only here: kubernetes_asyncio alone costs a second of every start.
    from hubconfig import kube_spawner

    c.JupyterHub.spawner_class = kube_spawner.SemesterKubeSpawner
    try:
        kube_spawner.configure(c, settings, STATE)
    except SettingsError as error:
        sys.exit(f"JupyterHub cannot start: {error}")
c.ClassSpawner.hub_settings = settings
c.ClassSpawner.ip = "0.0.0.0"  # noqa: S104 - the node's firewall lets only the hub in
c.ClassSpawner.port = 8888
c.ClassSpawner.notebook_dir = "/home/jovyan"
# queue and start have their own timeouts, which tell the student which of them ended; this one is the last resort
c.ClassSpawner.start_timeout = admission.queue_timeout_s + admission.start_timeout_s + 60
c.ClassSpawner.http_timeout = 120
c.ClassSpawner.poll_interval = 15
c.ClassSpawner.consecutive_failure_limit = 0
c.ClassSpawner.environment = {
    # 1,500 servers at the default of five minutes would post five times a second
    "JUPYTERHUB_ACTIVITY_INTERVAL": str(max(30, min(3600, culling.idle_timeout_s // 3))),
    "SEMESTERHUB_SEMESTER": settings.semester,
}

# -- people, rights, pages --------------------------------------------------------------------------------------------
c.JupyterHub.load_groups = access.groups(settings)
c.JupyterHub.load_roles = access.roles(settings)
c.JupyterHub.services = SERVICES
c.JupyterHub.template_paths = [str(HERE / "templates")]
c.JupyterHub.template_vars = {
    "semester": settings.semester,
    "semester_title": settings.title,
    "semester_courses": [course.title for course in settings.courses],
    "demo_sign_in": settings.authenticator.kind == "demo",
}
