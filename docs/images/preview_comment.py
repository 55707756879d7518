"""Draws docs/images/preview-comment.png: the comment that a preview's reports become, as GitHub would show it.

./hub preview --stack fa16 --against HEAD~1 --output out
PYTHONPATH=. .venv/bin/python docs/images/preview_comment.py out docs/images/preview-comment.png
"""

from __future__ import annotations

import asyncio
import html
import io
import re
import sys
from pathlib import Path

from markdown_it import MarkdownIt
from PIL import Image
from playwright.async_api import async_playwright

from operations import preview_comment, setup

WIDTH, HEIGHT_MAX, SCALE, COLOURS = 860, 1632, 1.5, 128
CSS = """
body { margin: 0; padding: 20px; background: #fff; color: #1f2328;
       font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", Helvetica, Arial, sans-serif, "Noto Color Emoji" }
.comment { border: 1px solid #d1d9e0; border-radius: 6px; overflow: hidden }
.top { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; color: #59636e }
.top b { color: #1f2328 } .bot { border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 6px; font-size: 12px; margin: 0 4px }
.text { padding: 8px 16px 16px }
h2 { font-size: 21px; border-bottom: 1px solid #d1d9e0; padding-bottom: 5px; margin: 16px 0 12px }
h3 { font-size: 17px; margin: 18px 0 10px } h4 { font-size: 14px; margin: 18px 0 10px } p { margin: 0 0 10px }
code, pre { font: 12px/1.45 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace }
code { background: #818b981f; border-radius: 6px; padding: 2px 5px }
pre { background: #f6f8fa; border-radius: 6px; padding: 10px 12px; margin: 6px 0 10px; overflow: hidden }
pre code { background: none; padding: 0 }
table { border-collapse: collapse; margin: 0 0 12px } th, td { border: 1px solid #d1d9e0; padding: 5px 10px; text-align: left }
tr:nth-child(2n) td { background: #f6f8fa } .gone { color: #82071e; background: #ffebe9 } .come { color: #116329; background: #dafbe1 }
.where { color: #8250df } .line { display: block; margin: 0 -12px; padding: 0 12px; min-height: 1.45em; white-space: pre-wrap }
details { margin: 4px 0 } blockquote { border-left: 4px solid #d1d9e0; color: #59636e; margin: 0 0 10px; padding: 0 12px }
hr { border: 0; border-top: 1px solid #d1d9e0; margin: 14px 0 } sub { color: #59636e; font-size: 12px; line-height: 0 }
"""

# Machines that draw pictures have no colour emoji.
DOT = '<svg width="13" height="13" style="vertical-align:-2px"><circle cx="6.5" cy="6.5" r="6" fill="{}"/></svg>'
SHIELD = '<svg width="14" height="15" style="vertical-align:-2px"><path d="M7 0l6 2v5c0 4-3 7-6 8-3-1-6-4-6-8V2z" fill="#57606a"/></svg>'
SIGNS = {
    "🔴": DOT.format("#d1242f"),
    "🟡": DOT.format("#d4a72c"),
    "🟢": DOT.format("#1a7f37"),
    "⚫": DOT.format("#24292f"),
    "🛡️": SHIELD,
    "✅": '<b style="color:#1a7f37">✓</b>',
    "❌": '<b style="color:#d1242f">✗</b>',
}


def page(text: str) -> str:
    """The comment as a page of its own; the first resource of each section is opened."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    body = re.sub(r'<pre><code class="language-diff">(.*?)</code></pre>', _coloured, body, flags=re.DOTALL)
    body = re.sub(r"(</h4>(?:(?!<h4>|<details>).)*)<details>", r"\1<details open>", body, flags=re.DOTALL)
    for sign, drawn in SIGNS.items():
        body = body.replace(sign, drawn)
    top = '<div class="top"><b>github-actions</b> <span class="bot">bot</span> commented</div>'
    return f'<!doctype html><meta charset="utf-8"><style>{CSS}</style><div class="comment">{top}<div class="text">{body}</div></div>'


def _coloured(match: re.Match[str]) -> str:
    kinds = {"-": "gone", "+": "come", "@": "where"}
    lines = html.unescape(match.group(1)).splitlines()
    spans = (f'<span class="line {kinds.get(line[:1], "")}">{html.escape(line)}</span>' for line in lines)
    return f"<pre><code>{''.join(spans)}</code></pre>"


async def picture(text: str) -> bytes:
    """The page in Chromium, cut where a reader would scroll, with few colours."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(setup.chromium()), args=["--no-sandbox"])
        tab = await browser.new_page(viewport={"width": WIDTH, "height": 600}, device_scale_factor=SCALE)
        await tab.set_content(page(text))
        height = await tab.evaluate("document.documentElement.scrollHeight")
        area = {"x": 0, "y": 0, "width": WIDTH, "height": min(height, HEIGHT_MAX)}
        shot = await tab.screenshot(full_page=True, clip=area)  # pyright: ignore[reportArgumentType]
        await browser.close()
    out = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    run = {"id": 1, "head_sha": "f1c8d2a90b"}
    comment = preview_comment.comment_body(preview_comment.read_reports(source), run, "https://github.com", "uni/hub")
    target.write_bytes(asyncio.run(picture(comment)))
    print(f"{target}: {target.stat().st_size / 1024:.0f} KiB")
