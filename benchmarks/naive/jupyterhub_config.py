# The naive hub that the tuned one is measured against: what the manuals of JupyterHub and dockerspawner give when they
# are put together, with only those changes without which no class of twenty gets through at all (300 s timeouts) or no
# Swarm service works on a kernel without IPVS (dnsrr). No queue, no tuned image, everybody starts at once.
import os

c = get_config()  # noqa: F821

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["NAIVE_STUDENT_PASSWORD"]
c.Authenticator.allow_all = True

c.JupyterHub.spawner_class = "dockerspawner.SwarmSpawner"
c.SwarmSpawner.image = os.environ["NAIVE_IMAGE"]
c.SwarmSpawner.network_name = "naive"
c.SwarmSpawner.extra_endpoint_spec = {"mode": "dnsrr"}
c.SwarmSpawner.extra_container_spec = {"user": "1000"}
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = "hub"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy:8001"
c.JupyterHub.db_url = "sqlite:////tmp/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/tmp/cookie_secret"
