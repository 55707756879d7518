"""The page that people see on a site that does not serve the class now."""

from __future__ import annotations

import html

from .roles import SiteState

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0 1.5rem; }}
  main {{ max-width: 34rem; }}
  h1 {{ font-size: 1.5rem; margin: 0 0 .5rem; }}
  p {{ margin: .5rem 0; }}
  .note {{ opacity: .7; font-size: .9rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{what}</p>
<p><strong>{where}</strong></p>
<p class="note">This page tries again every 10 seconds. If it is still here after ten minutes, tell your instructor.</p>
</main>
</body>
</html>
"""


def page(state: SiteState, hub_url: str) -> str:
    """The whole page for a site in that state."""
    link = f'<a href="{html.escape(hub_url)}">{html.escape(hub_url)}</a>'
    if state.role == "active":
        title = "One moment, please"
        what = "The hub's machine was restarted, and it makes sure that the class does not work elsewhere before it goes on."
        where = f"Your files are not affected. Come back to {link} in a moment."
    elif state.role == "fenced":
        title = "The class is moving to another machine"
        what = (
            "This machine no longer takes the class. What you saved is kept. Your browser came here because it still "
            "remembers the hub's old address; that passes by itself within a few minutes."
        )
        where = f"Close your notebooks' tabs and go to {link}. You stay signed in; start your server there again."
    else:
        title = "This is the standby machine"
        what = "It holds a copy of the class's files, in case the hub's machine fails, and nobody works here now."
        where = f"The hub is at {link}."
    return _PAGE.format(title=title, what=what, where=where)
