"""A person's first minute, in a real browser: sign in, JupyterLab opens, a cell computes, the notebook is saved."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from pathlib import Path

import pytest

from tests.end_to_end.cluster import Cluster
from tests.end_to_end.following import person, sign_in

pytestmark = pytest.mark.browser


async def test_a_student_signs_in_computes_and_saves(empty: Cluster, tmp_path: Path, repository: Path) -> None:
    from playwright.async_api import expect

    name = f"grace{secrets.token_hex(2)}"  # a new home: JupyterLab opens what was open the last time
    images = repository / "docs" / "images" if os.environ.get("SEMESTERHUB_SCREENSHOTS") else None
    if images:
        images.mkdir(parents=True, exist_ok=True)
    async with person(empty, tmp_path) as (page, _):
        await sign_in(page, empty, name, picture=images / "sign-in.png" if images else None)
        await page.click('.jp-LauncherCard[data-category="Notebook"]')
        await page.wait_for_selector(".jp-Notebook .jp-Cell:not(.jp-Notebook-footer) .cm-content")
        await page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first
        await cell.click()
        await page.wait_for_selector(".jp-Notebook .jp-Cell .cm-editor.cm-focused")
        await page.keyboard.type("sum(range(101)) * 1000 + 7", delay=20)
        await expect(cell).to_have_text("sum(range(101)) * 1000 + 7")
        await page.keyboard.press("Shift+Enter")
        output = page.locator(".jp-Notebook .jp-OutputArea-output").first
        await expect(output).to_have_text("5050007", timeout=60_000)
        await page.keyboard.press("Control+s")
        rename = page.locator(".jp-Dialog")
        if await _appears(rename):
            await page.keyboard.press("Enter")
        await page.wait_for_selector(".jp-DirListing-item[title*='Untitled.ipynb']")
        if images:
            await page.screenshot(path=images / "jupyterlab.png")
        await _saved(empty, name)
        # _xsrf is readable by scripts on purpose and opens nothing by itself; every other cookie is a login.
        open_ones = [c for c in await page.context.cookies() if not (c.get("secure") and c.get("httpOnly"))]
        assert {c.get("name") for c in open_ones} <= {"_xsrf"}


async def _appears(locator: object) -> bool:
    """Whether JupyterLab asks for a name (it does on the first save of an untitled notebook)."""
    from playwright.async_api import TimeoutError as PlaywrightTimeoutError

    try:
        await locator.first.wait_for(timeout=3000)  # type: ignore[attr-defined]
    except PlaywrightTimeoutError:
        return False
    return True


async def _saved(cluster: Cluster, name: str) -> None:
    """The notebook with its result is a file in the student's home."""
    for _ in range(60):
        text = cluster.home_file(name, "Untitled.ipynb")
        # At first it is there without a cell: JupyterLab makes the file before it saves into it.
        if text and "5050007" in json.dumps([cell.get("outputs") for cell in json.loads(text)["cells"]]):
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"the saved notebook does not hold the result: {text}")
