"""The class moves to the bare metal and back: a real Swarm, a real second machine, a real BIND, a browser that follows the name."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from operations import scratch_stack, stacks
from operations.dns import open_dns
from operations.failover.context import sites_of
from tests.end_to_end.cluster import Cluster
from tests.end_to_end.following import person, sign_in

pytestmark = [pytest.mark.swarm, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def standing_by(cluster: Cluster) -> Iterator[Cluster]:
    """The semester with its bare-metal machine as a standby."""
    done = scratch_stack.hub("fallback.up", "--stack", cluster.stack)
    assert done.returncode == 0, scratch_stack.tail(done, 25)
    yield cluster
    done = scratch_stack.hub("fallback.destroy", "--stack", cluster.stack)
    if done.returncode:  # a test failed while the class was there
        scratch_stack.hub("failback", "--stack", cluster.stack)
        done = scratch_stack.hub("fallback.destroy", "--stack", cluster.stack)
    assert done.returncode == 0, scratch_stack.tail(done, 25)


async def test_a_browser_that_follows_the_name_is_still_signed_in_and_finds_its_notebook(
    standing_by: Cluster, tmp_path: Path
) -> None:
    cluster, name = standing_by, f"ada{secrets.token_hex(2)}"
    dns = open_dns(stacks.load(cluster.stack), cluster.stack)
    async with person(cluster, tmp_path, lambda: dns.look().addresses) as (page, way):
        await sign_in(page, cluster, name)
        put = """async ([path, text]) => {
            const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
            const answer = await fetch(path, {method: "PUT", headers: {"X-XSRFToken": xsrf},
                body: JSON.stringify({type: "notebook", content: JSON.parse(text)})});
            return answer.status; }"""
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
            {"id": "a", "cell_type": "markdown", "metadata": {}, "source": f"homework of {name}"}]}  # fmt: skip
        status = await page.evaluate(put, [f"/user/{name}/api/contents/hw1.ipynb", json.dumps(notebook)])
        assert status in (200, 201)
        assert set(way.led) == {"127.0.0.1"}

        await cluster.hub("failover")
        assert dns.look().addresses == ("127.0.0.2",)
        await page.goto(cluster.target.hub_url)
        assert await page.locator("#password_input").count() == 0, "has to sign in again"
        await page.wait_for_url(f"**/user/{name}/lab**")
        await page.wait_for_selector(".jp-DirListing-item[title*='hw1.ipynb']")
        assert "127.0.0.2" in way.led
        await page.dblclick(".jp-DirListing-item[title*='hw1.ipynb']")
        await page.wait_for_selector(f".jp-RenderedMarkdown:has-text('homework of {name}')")
    await _fenced_page_says_where_to_go(cluster, urlsplit(cluster.target.hub_url).hostname or "")
    await _standby_again(cluster)
    await cluster.hub("failback")
    assert dns.look().addresses == ("127.0.0.1",)
    assert cluster.home_file(name, "hw1.ipynb")


async def _fenced_page_says_where_to_go(cluster: Cluster, host: str) -> None:
    import aiohttp

    from operations.failover.health import FixedResolver
    from operations.load.browser import Browser

    async with Browser(cluster.target.ssl_context(), resolver=FixedResolver(host, "127.0.0.1")) as browser:
        try:
            page = await browser.open(cluster.target.hub_url)
        except aiohttp.ClientError as problem:  # pragma: no cover - told, not hidden
            raise AssertionError(f"the fenced site does not even answer: {problem}") from None
    assert page.status == 503
    assert cluster.target.hub_url.rstrip("/") in page.text


async def _standby_again(cluster: Cluster) -> None:
    semester = stacks.load(cluster.stack)
    with sites_of(cluster.stack, semester) as sites:
        for _ in range(120):
            seen = await asyncio.to_thread(sites.cloud.status)
            if seen["role"] == "standby":
                return
            await asyncio.sleep(1)
    raise AssertionError(f"the cloud site is {seen['role']}, not a standby")


async def test_a_drill_moves_there_and_back_and_keeps_every_promise(standing_by: Cluster, repository: Path) -> None:
    await standing_by.hub("drill")
    folder = max((repository / ".semesterhub" / "drills" / standing_by.stack).iterdir())
    report = json.loads((folder / "report.json").read_text())
    assert report["passed"] and [leg["kind"] for leg in report["legs"]] == ["failover", "failback"]
    assert all(leg["home"]["lost"] == 0 and leg["home"]["acknowledged"] > 10 for leg in report["legs"])
    assert "**Passed.**" in (folder / "report.md").read_text()


async def test_three_moves_under_harm_have_one_writer_at_a_time(standing_by: Cluster) -> None:
    """Paused, restarted, cut off, killed, two admins at once: `load.fencing` does twenty of these."""
    await standing_by.hub("load.fencing", "--trials", "3", "--seed", "2")
