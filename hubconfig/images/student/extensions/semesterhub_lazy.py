"""A Jupyter Server extension that loads rarely used extensions when their first request arrives.

nbdime's server part imports GitPython and more on every start, for a button that few students press. Here its paths have a
placeholder: the first request loads the real extension, takes the placeholder away and sends the client to the same address
again (307 keeps method and body).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

#: First path segment under the server's base URL -> module with `_load_jupyter_server_extension`.
LAZY = {"nbdime": "nbdime.webapp.nb_server_extension"}


class LoadOnFirstUse(JupyterHandler):
    """Loads an extension, then hands its path over to it."""

    def initialize(self, segment: str) -> None:
        self.segment = segment

    async def prepare(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await super().prepare()
        if not self.current_user:
            raise web.HTTPError(403)
        waiting: dict[str, Any] = self.settings["semesterhub_lazy"]
        rule = waiting.pop(self.segment, None)
        if rule is not None:
            rules = self.application.default_router.rules
            rules.remove(rule)
            module = import_module(LAZY[self.segment])
            module._load_jupyter_server_extension(self.serverapp)
            self.log.info("%s loaded on its first use", self.segment)
        self.redirect(self.request.uri or "/", status=307)

    def check_xsrf_cookie(self) -> None:
        """Nothing is done with the request here; the real handler checks it."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "semesterhub_lazy"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    app = serverapp.web_app
    waiting: dict[str, Any] = app.settings.setdefault("semesterhub_lazy", {})
    for segment in LAZY:
        before = set(map(id, app.default_router.rules))
        pattern = url_path_join(app.settings["base_url"], segment, ".*")
        app.add_handlers(".*$", [(pattern, LoadOnFirstUse, {"segment": segment})])
        waiting[segment] = next(rule for rule in app.default_router.rules if id(rule) not in before)
