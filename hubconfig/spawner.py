"""A student's server on Docker Swarm: one service, reached at `<node address>:<published port>` without an overlay network."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import docker
from docker.utils import kwargs_from_env
from dockerspawner import SwarmSpawner
from traitlets import List, Unicode, default

from .class_spawner import ClassSpawner
from .cluster import Cluster
from .service_spec import ServerSpec, create_service_arguments, service_name
from .settings import CourseSettings
from .swarm import Swarm

DOCKER_THREADS = 4


class SemesterSpawner(ClassSpawner, SwarmSpawner):
    """JupyterHub's spawner for student servers on a Docker Swarm."""

    placement_constraints = List(
        Unicode(), default_value=["node.role==worker"], help="Swarm constraints of every server."
    ).tag(config=True)

    # shared by all spawners of one hub
    _pool: ClassVar[ThreadPoolExecutor | None] = None
    _own: ClassVar[threading.local] = threading.local()

    remove = True

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Threads for Engine API calls: a slow call must not hold up those of everybody else."""
        cls = SemesterSpawner
        if cls._pool is None:
            cls._pool = ThreadPoolExecutor(DOCKER_THREADS, thread_name_prefix="docker-api")
        return cls._pool

    @property
    def client(self) -> docker.APIClient:
        """The calling thread's own client. dockerspawner keeps one for all on its class, which is safe with its one thread only:
        two threads that make it at once replace it under a third, and Python 3.11 then reads freed memory (the first starts
        after a hub's restart ended the hub, exit code 139)."""
        if not hasattr(self._own, "client"):
            tls = {"tls": docker.tls.TLSConfig(**self.tls_config)} if self.tls_config else {}
            self._own.client = docker.APIClient(**{"version": "auto", **tls, **kwargs_from_env(), **self.client_kwargs})
        return self._own.client

    def _cluster(self) -> Cluster:
        return Swarm(self.docker)

    @default("object_name")
    def _object_name_default(self) -> str:
        return service_name(self.user.name, self.name)

    async def get_command(self) -> list[str]:
        """Without a configured command the image's own one runs (the manager has no copy of it to look into)."""
        return [*self.cmd, *self.get_args()] if self.cmd else []

    async def _create(self, course: CourseSettings, home: str) -> None:
        spec = ServerSpec(
            name=self.object_name,
            user=self.user.name,
            course=course.id,
            image=course.image,
            command=await self.get_command(),
            env=self.get_env(),
            home=home,
            memory_limit_mib=course.memory_limit_mib,
            memory_guarantee_mib=course.memory_guarantee_mib,
            cpu_limit=course.cpu_limit,
            cpu_guarantee=course.cpu_guarantee,
            constraints=tuple(self.placement_constraints),
        )
        service = await self.docker("create_service", **create_service_arguments(spec))
        self.object_id = service[self.object_id_key]
