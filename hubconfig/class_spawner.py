"""A student's server, whatever cluster it runs on: started in its turn, found again after any crash of the hub.

What differs from JupyterHub's own spawners is what a class needs: starts wait in a visible queue (`admission.py`), every
state of a server and a dead node are understood (`cluster.py`), and a start that a killed hub left behind is adopted or
removed. `spawner.py` is this on Docker Swarm, `kube_spawner.py` on Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar, Literal

from jupyterhub import orm
from jupyterhub.spawner import Spawner, SpawnException
from traitlets import Callable as CallableTrait
from traitlets import Instance, default

from . import courses, reach
from .admission import QueueTimeoutError, Ticket
from .cluster import STARTING_STATES, Cluster, Node, Server, Task
from .desk import StartDesk
from .homes import HomeError, ensure_home
from .service_spec import STOP_GRACE_S, service_name
from .settings import CourseSettings, HubSettings

LOOK_EVERY_S = 0.3
LOOK_FOR_ROOM_EVERY_S = 2.0
PROGRESS_EVERY_S = 0.5
MAX_PLACEMENTS = 3
"""How often a start may be placed anew because its node went away or refused it."""
ASK_AGAIN_S = (0.5, 1.0, 2.0)
PLACE_AGAIN_S = 1.0
BACK_IN_LINE = "back in line"
"""Why a placement ended: there is no room, and somebody who came earlier waits for it already."""


class StartError(SpawnException):
    """A start that ended, with the sentence that the student reads."""

    @property
    def jupyterhub_message(self) -> str:
        """The sentence alone, as JupyterHub's pages show it."""
        return self.message


class ClassSpawner(Spawner):
    """What a class needs of a spawner, on any cluster. Subclasses say how a server is made (`_create`) and which cluster
    is asked (`_cluster`), and come before JupyterHub's spawner of that cluster in their bases."""

    hub_settings = Instance(HubSettings, help="The semester's settings.").tag(config=True)
    make_home = CallableTrait(ensure_home, help="Makes a home folder: (homes_path, username) -> path.").tag(config=True)

    # shared by all spawners of one hub
    _desk: ClassVar[StartDesk | None] = None

    # how a server is reached, replaceable in tests
    answers = staticmethod(reach.answers)
    listens = staticmethod(reach.listens)

    task_id = ""
    address = ""
    published_port = 0
    _course_id = ""
    _ticket: Ticket | None = None
    _starting = False
    _last_task: Task | None = None

    # -- shared parts -------------------------------------------------------------------------------------------------

    @property
    def desk(self) -> StartDesk:
        """The queue and the cluster."""
        cls = type(self)
        if cls._desk is None:
            cls._desk = StartDesk(self.hub_settings.admission, self._cluster(), self.log)
            cls._desk.export_metrics()
        return cls._desk

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.desk.cluster

    def _cluster(self) -> Cluster:
        """For subclasses: the cluster of this hub, made once."""
        raise NotImplementedError

    async def _create(self, course: CourseSettings, home: str) -> None:
        """For subclasses: makes the server under `object_name` and keeps its id as `object_id`."""
        raise NotImplementedError

    # -- names and state ----------------------------------------------------------------------------------------------

    @default("options_form")
    def _options_form_default(self) -> Any:
        return lambda spawner: courses.form(spawner.my_courses())

    @default("options_from_form")
    def _options_from_form_default(self) -> Any:
        return courses.options_from_form

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Finds the server of before the hub's restart."""
        super().load_state(state)
        self.task_id = state.get("task_id", "")
        self.address = state.get("address", "")
        self.published_port = state.get("published_port", 0)
        self._course_id = state.get("course", "")

    def get_state(self) -> dict[str, Any]:
        """What the next hub process must know."""
        state = super().get_state()
        if self.task_id:
            state |= {
                "task_id": self.task_id,
                "address": self.address,
                "published_port": self.published_port,
                "course": self._course_id,
            }
        return state

    def clear_state(self) -> None:
        """Forgets the server."""
        super().clear_state()
        self._forget()

    def _forget(self) -> None:
        self.object_id = ""
        self.object_name = service_name(self.user.name, self.name)
        self.task_id = self.address = ""
        self.published_port = 0
        self._last_task = None

    @property
    def _base_url(self) -> str:
        return self.server.base_url if self.server else "/"

    async def get_url(self) -> str:
        """Where the server answers; asked for after a restart of the hub."""
        if self.address and self.published_port and self.server:
            return reach.url(self.address, self.published_port, self.server.base_url)
        return await super().get_url()

    # -- courses ------------------------------------------------------------------------------------------------------

    def my_courses(self) -> tuple[CourseSettings, ...]:
        """The courses this person may start a server for."""
        groups = {group.name for group in self.user.groups}
        return courses.courses_of(self.hub_settings, self.user.name, groups, admin=bool(self.user.admin))

    def _use(self, course: CourseSettings) -> None:
        self._course_id = course.id
        self.image = course.image
        self.default_url = course.default_url
        self.mem_limit = course.memory_limit_mib * 1024 * 1024
        self.mem_guarantee = course.memory_guarantee_mib * 1024 * 1024
        self.cpu_limit = course.cpu_limit
        self.cpu_guarantee = course.cpu_guarantee

    def _join_group(self, course: CourseSettings) -> None:
        """In an open course a student joins the group at the first start, so that instructors find them.

        Admins and instructors stay out: whoever is in the group can be watched by every instructor of the course.
        """
        if course.students or self.user.admin or self.user.name in course.instructors:
            return
        group = orm.Group.find(self.user.db, course.group)
        if group is not None and group not in self.user.groups:
            group.users.append(self.user.orm_user)
            self.user.db.commit()

    # -- start --------------------------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, int]:
        """Waits for its turn, starts the server and returns (address, port) once it answers."""
        try:
            course = courses.choose(self.my_courses(), self.user_options)
        except courses.CourseError as error:
            raise StartError(str(error), reason="course", status_code=403) from None
        self._use(course)
        self._join_group(course)
        self.desk.keep_fresh()
        self._starting = True
        ticket = self._ticket = self.desk.admission.join(self._log_name, course.memory_guarantee_mib)
        try:
            home = await self._home()
            address, port = await self._start_on_a_node(course, home, ticket)
            ticket.leave(ready=True)
            return address, port
        except QueueTimeoutError:
            raise StartError(self.desk.gave_up_text(), reason="queue-timeout", status_code=503) from None
        except BaseException:
            # also when cancelled: a service that nobody waits for must not take a place
            await self._remove_quietly()
            raise
        finally:
            ticket.leave()
            self._starting = False

    async def _home(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            path = await loop.run_in_executor(None, self.make_home, self.hub_settings.homes_path, self.user.name)
        except HomeError as error:
            self.log.error("No home for %s: %s", self._log_name, error)
            raise StartError(
                "Your home folder cannot be used right now. Tell your instructor; the hub's log has the reason.",
                reason="home",
                log_message=str(error),
                status_code=503,
            ) from None
        return str(path)

    async def _start_on_a_node(self, course: CourseSettings, home: str, ticket: Ticket) -> tuple[str, int]:
        lost, attempt = "", 0
        while attempt < MAX_PLACEMENTS:
            await ticket.turn(max(0.0, self.hub_settings.admission.queue_timeout_s - ticket.waited_s))
            if await self.cluster.remove(self.object_name):
                self.log.warning("Removed a leftover server %s before the start", self.object_name)
            await self._create(course, home)
            lost = await self._wait_until_it_answers(ticket)
            if not lost:
                return self.address, self.published_port
            if lost is BACK_IN_LINE:
                await self._remove_quietly()
                continue
            attempt += 1
            self.log.warning("%s: placement %s failed: %s", self._log_name, attempt, lost)
            await asyncio.sleep(attempt * PLACE_AGAIN_S)
        await self._remove_quietly()
        raise StartError(f"Your server could not be started: {lost}.", reason="placement", status_code=503)

    async def _wait_until_it_answers(self, ticket: Ticket) -> str:
        """'' when the server answers; the reason when this placement is lost and another may help."""
        rules = self.hub_settings.admission
        while True:
            task = self._last_task = await self.cluster.task_of(self.object_id)
            pause = LOOK_EVERY_S
            if task is not None and task.no_room:
                if not ticket.step_aside():
                    return BACK_IN_LINE
                pause = LOOK_FOR_ROOM_EVERY_S
                if ticket.waited_s > rules.queue_timeout_s:
                    raise QueueTimeoutError
            elif task is not None:
                if task.node_id:
                    ticket.placed()
                if task.state in {"rejected", "orphaned", "shutdown", "remove"}:
                    return task.why
                if task.ended:
                    raise StartError(
                        f"Your server stopped while it was starting: {task.why}.", reason="ended", status_code=500
                    )
                node = await self._node_of(task)
                if node is not None and node.state == "down":
                    return f"node {node.name} went away"
                if task.state == "running" and node is not None and task.port:
                    self._found(task, node)
                    if await self.answers(reach.url(self.address, task.port, f"{self._base_url}api")):
                        return ""
            if ticket.running_s > rules.start_timeout_s:
                raise StartError(
                    f"Your server did not answer within {rules.start_timeout_s} seconds. Try again; "
                    "if it happens twice, tell your instructor.",
                    reason="timeout",
                    status_code=503,
                )
            await asyncio.sleep(pause)

    def _found(self, task: Task, node: Node) -> None:
        self.task_id, self.address, self.published_port = task.id, task.address or node.address, task.port

    async def _node_of(self, task: Task) -> Node | None:
        return (await self.cluster.nodes()).get(task.node_id)

    # -- poll and stop ------------------------------------------------------------------------------------------------

    async def poll(self) -> str | Literal[0] | None:
        """None while the server runs (or starts); else a sentence about its end, with the rest of it removed.

        A cluster that cannot be asked says nothing about the server, so it counts as running: JupyterHub throws a server
        away for good when the first poll after its own restart fails.
        """
        if self._starting:
            return None
        for pause in (*ASK_AGAIN_S, None):
            try:
                return await (self._poll_known() if self.task_id else self._poll_unknown())
            except self.cluster.trouble as error:
                if pause is None:
                    self.log.warning(
                        "%s counts as running: the %s cannot be asked: %s", self._log_name, self.cluster.kind, error
                    )
                    return None
                await asyncio.sleep(pause)
        return None

    async def _poll_known(self) -> str | None:
        self.desk.keep_fresh()
        snapshot = await self.cluster.snapshot()
        task = snapshot.tasks.get(self.task_id)
        node = snapshot.nodes.get(task.node_id) if task else None
        if task and task.state == "running" and node and node.state != "down":
            return None
        # something changed, or the snapshot is older than the server: ask about this one alone
        task = await self.cluster.task(self.task_id)
        if task is None:
            end = "its service was removed"
        elif task.ended:
            end = task.why
        else:
            node = (await self.cluster.nodes(0)).get(task.node_id)
            if node is not None and node.state != "down":
                return None
            # the manager may have lost sight of a node that works, after a restart of its own for example
            if await self.listens(self.address, self.published_port):
                return None
            end = f"node {node.name if node else task.node_id} went away"
        await self._remove_quietly()
        self.log.warning("The server of %s ended: %s", self._log_name, end)
        return end

    async def _poll_unknown(self) -> str | Literal[0] | None:
        """Without state: either there is no server, or a hub that was killed during the start left one."""
        server = await self.cluster.server(self.object_name)
        if server is None:
            return 0
        self.object_id = server.id
        task = await self.cluster.task_of(self.object_id)
        node = await self._node_of(task) if task else None
        if task and task.state == "running" and task.port and node and node.state != "down" and self.server:
            self._adopt(server, task, node)
            return None
        await self._remove_quietly()
        state = task.state if task else "new"
        unfinished = state in STARTING_STATES
        return f"its start was interrupted ({state})" if unfinished else f"it had ended: {task.why if task else state}"

    def _adopt(self, server: Server, task: Task, node: Node) -> None:
        self.api_token = server.environment.get("JUPYTERHUB_API_TOKEN", "")
        self._found(task, node)
        self._course_id = server.course
        self.orm_spawner.state = self.get_state()
        self.user.db.commit()
        self.log.warning("Adopted the server of %s, whose start the hub did not see end", self._log_name)

    async def stop(self, now: bool = False) -> None:
        """Removes the server; its container gets SIGTERM and ten seconds. Returns when it is gone."""
        task_id = self.task_id
        self.log.info("Stopping %s (%s)", self._log_name, self.object_name)
        await self.cluster.remove(self.object_id or self.object_name)
        if task_id and not now:
            await self._wait_until_gone(task_id)
        self.clear_state()

    async def _wait_until_gone(self, task_id: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + STOP_GRACE_S + 5
        while loop.time() < until:
            task = await self.cluster.task(task_id)
            if task is None or task.ended:
                return
            node = await self._node_of(task)
            if node is None or node.state == "down":
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _remove_quietly(self) -> None:
        try:
            await self.cluster.remove(self.object_id or self.object_name)
        except self.cluster.trouble as error:
            self.log.error("The server %s could not be removed, the next start will: %s", self.object_name, error)
        self._forget()

    # -- what the student sees ----------------------------------------------------------------------------------------

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """Events for the page that waits: the place in the queue, then what the server is doing."""
        last: dict[str, Any] | None = None
        while True:
            event = self.desk.progress_event(self._ticket, self._last_task)
            if event != last:
                yield event
                last = event
            await asyncio.sleep(PROGRESS_EVERY_S)
