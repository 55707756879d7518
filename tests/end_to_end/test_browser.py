"""A person's first minute, in a real browser: sign in, JupyterLab opens, a cell computes, the notebook is saved."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.end_to_end.cluster import Cluster, chromium

pytestmark = pytest.mark.browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
)


def key_of_the_hub(cluster: Cluster) -> str:
    """The hash of the key in the hub's certificate, after its chain was checked against the stack's own authority.

    Chromium is told to trust this one key, so every other certificate is still refused.
    """
    import socket

    url = urlsplit(cluster.target.hub_url)
    context = cluster.target.ssl_context()
    assert context is not None
    assert url.hostname
    with (
        socket.create_connection(("127.0.0.1", url.port or 443), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=url.hostname) as tls,
    ):
        pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


async def test_a_student_signs_in_computes_and_saves(empty: Cluster, tmp_path: Path, repository: Path) -> None:
    program = chromium()
    if program is None:
        pytest.fail("no Chromium on this machine (apt-get install chromium, or SEMESTERHUB_CHROMIUM=/path/to/it)")
    from playwright.async_api import async_playwright, expect

    name = f"grace{secrets.token_hex(2)}"  # a new home: JupyterLab opens what was open the last time
    images = repository / "docs" / "images" if os.environ.get("SEMESTERHUB_SCREENSHOTS") else None
    if images:
        images.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=program,
            headless=True,
            args=[*FLAGS, f"--ignore-certificate-errors-spki-list={key_of_the_hub(empty)}"],
            viewport={"width": 1280, "height": 800},
        )
        page = context.pages[0] if context.pages else await context.new_page()
        page.set_default_timeout(120_000)
        try:
            await page.goto(empty.target.hub_url)
            await page.fill("#username_input", name)
            await page.fill("#password_input", empty.target.student_password)
            if images:
                await page.screenshot(path=images / "sign-in.png")
            await page.click("#login_submit")
            await page.wait_for_url(f"**/user/{name}/lab**")
            await page.wait_for_selector(".jp-Launcher")
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
            open_ones = [c for c in await context.cookies() if not (c.get("secure") and c.get("httpOnly"))]
            assert {c.get("name") for c in open_ones} <= {"_xsrf"}
        except BaseException:
            await page.screenshot(path=tmp_path / "failed.png")
            print(f"the page when it failed: {tmp_path / 'failed.png'}, at {page.url}")
            raise
        finally:
            await context.close()


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
    import asyncio

    for _ in range(60):
        text = cluster.home_file(name, "Untitled.ipynb")
        if text and "5050007" in json.dumps(json.loads(text)["cells"][0].get("outputs", [])):
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"the saved notebook does not hold the result: {text}")
