"""A student's server on Docker Swarm: one service, reached at `<node address>:<published port>` without an overlay network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

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

    # shared by all spawners of one hub, like dockerspawner's own client
    _pool: ClassVar[ThreadPoolExecutor | None] = None

    remove = True

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Threads for Engine API calls: a slow call must not hold up those of everybody else."""
        cls = SemesterSpawner
        if cls._pool is None:
            cls._pool = ThreadPoolExecutor(DOCKER_THREADS, thread_name_prefix="docker-api")
        return cls._pool

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
