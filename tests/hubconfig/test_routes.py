"""The guard of the proxy's routes, against a small proxy that can lose its memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hubconfig.routes import MARK, GuardedProxy

pytestmark = pytest.mark.unit

HUB = "http://10.88.0.10:8081"


class FakeProxy:
    """The routes API of configurable-http-proxy."""

    def __init__(self) -> None:
        self.routes: dict[str, dict[str, Any]] = {}
        self.lists = 0
        self.forget_on_post: str = ""
        self.refuse: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "token the-token"
        path = request.path.removeprefix("/api/routes") or "/"
        if request.method == "GET" and path == "/":
            self.lists += 1
            return web.json_response(self.routes)
        if request.method == "GET":
            return web.json_response(self.routes[path]) if path in self.routes else web.Response(status=404)
        if request.method == "DELETE":
            return web.Response(status=204 if self.routes.pop(path, None) else 404)
        if path == self.refuse:
            return web.Response(status=400)
        if path == self.forget_on_post:
            self.forget_on_post = ""
            self.routes.clear()
        self.routes[path] = await request.json()
        return web.Response(status=201)


@pytest.fixture
async def fake() -> Any:
    fake = FakeProxy()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")  # type: ignore[attr-defined]
        yield fake


def spawner(name: str, *, ready: bool = True, checking: bool = False) -> Any:
    return SimpleNamespace(
        ready=ready,
        pending="check" if checking else None,
        _check_pending=checking,
        proxy_spec=f"/user/{name}/",
        server=SimpleNamespace(host=f"http://10.88.0.11:{32000 + len(name)}"),
        _log_name=name,
    )


def guarded(fake: Any, spawners: dict[str, Any]) -> GuardedProxy:
    users = {
        name: SimpleNamespace(name=name, spawners={"": item}, proxy_spec=item.proxy_spec)
        for name, item in spawners.items()
    }
    hub = SimpleNamespace(routespec="/", host=HUB)
    app = SimpleNamespace(hub=hub, users=users, _service_map={}, internal_ssl=False, subdomain_host="")
    return GuardedProxy(app=app, hub=hub, api_url=fake.url, auth_token="the-token", should_start=False)


def paths(fake: Any) -> set[str]:
    return set(fake.routes)


async def test_a_proxy_that_lost_its_memory_gets_all_routes_back_at_once(fake: Any) -> None:
    proxy = guarded(fake, {name: spawner(name) for name in ("ada", "bobby")})
    everything = {"/", "/user/ada", "/user/bobby", MARK}
    await proxy.guard_once()
    assert paths(fake) == everything
    fake.routes.clear()
    await proxy.guard_once()
    assert paths(fake) == everything
    assert fake.routes["/user/ada"]["target"] == "http://10.88.0.11:32003"


async def test_a_healthy_proxy_costs_one_small_request(fake: Any) -> None:
    proxy = guarded(fake, {"ada": spawner("ada")})
    await proxy.guard_once()
    fake.lists = 0
    for _ in range(5):
        await proxy.guard_once()
    assert fake.lists == 0


async def test_a_default_target_of_the_proxy_is_not_mistaken_for_the_hubs_route(fake: Any) -> None:
    proxy = guarded(fake, {"ada": spawner("ada")})
    await proxy.guard_once()
    fake.routes.clear()
    fake.routes["/"] = {"target": HUB}
    await proxy.guard_once()
    assert "/user/ada" in fake.routes


async def test_a_crash_in_the_middle_of_the_restoring_is_noticed(fake: Any) -> None:
    proxy = guarded(fake, {name: spawner(name) for name in ("ada", "bobby")})
    fake.forget_on_post = "/user/bobby"
    await proxy.guard_once()
    assert not proxy._complete
    await proxy.guard_once()
    assert proxy._complete
    assert {"/", "/user/ada", "/user/bobby"} <= paths(fake)


async def test_a_proxy_that_refuses_a_route_is_asked_again(fake: Any) -> None:
    proxy = guarded(fake, {name: spawner(name) for name in ("ada", "bobby")})
    fake.refuse = "/user/bobby"
    await proxy.guard_once()
    assert not proxy._complete
    assert MARK not in fake.routes
    fake.refuse = ""
    await proxy.guard_once()
    assert "/user/bobby" in fake.routes


async def test_servers_that_a_restarted_hub_still_checks_get_their_route_when_found(fake: Any) -> None:
    late = spawner("bobby", ready=False, checking=True)
    proxy = guarded(fake, {"ada": spawner("ada"), "bobby": late})
    await proxy.guard_once()
    assert "/user/ada" in fake.routes
    assert not proxy._complete
    late.ready, late.pending, late._check_pending = True, None, False
    await proxy.guard_once()
    assert proxy._complete
    assert "/user/bobby" in fake.routes


async def test_a_proxy_that_is_down_ends_nothing(fake: Any) -> None:
    proxy = guarded(fake, {"ada": spawner("ada")})
    await proxy.guard_once()
    url, proxy.api_url = proxy.api_url, "http://127.0.0.1:9"
    await proxy.guard_once()
    assert not proxy._complete
    proxy.api_url = url
    await proxy.guard_once()
    assert proxy._complete
