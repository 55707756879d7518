#!/opt/venv/bin/python3 -I
"""Starts JupyterHub's single-user server without importing what only a hub needs.

`jupyterhub-singleuser` imports, by way of four names, JupyterHub's whole database layer: SQLAlchemy, Alembic and the hub's
page handlers, a third of everything it loads. Here those modules are absent on purpose: empty modules stand in for them,
holding only the names that the single-user code mentions at import time and never uses on a student's server. The rest is
JupyterHub's own, unchanged. `jsonschema` is told that `rfc3987_syntax` is not installed: its grammar for international URIs
costs half a second to build and no schema of the server uses the format.

Kernels are processes of their own and see none of this. `-I` keeps a student's ~/.local and PYTHONPATH out of the server,
so that a package installed there cannot keep the server from starting.

Set SEMESTERHUB_STUDENT_SERVER=stock for the unchanged `jupyterhub-singleuser`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION_FOLDER = "/opt/semesterhub/extensions"


class HealthCheckHandler:
    """Stands for the hub's handler that request logging asks about; no request to a student's server is ever one."""


class SQLAlchemyError(Exception):
    """Stands for the database error that `jupyterhub.utils` names in an except clause; there is no database here."""


def stand_in(name: str, *, package: bool = False, **names: object) -> None:
    """Register an empty module with these names, unless the real one is already there."""
    if name in sys.modules:
        return
    module = ModuleType(name, "Left out of the student's server; see student_server.py.")
    module.__spec__ = ModuleSpec(name, None, is_package=package)
    if package:
        module.__path__ = []
    module.__dict__.update(names)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def lazy(name: str) -> None:
    """Import a module only when one of its names is first used."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)


def leave_out_the_hub() -> None:
    """Make the single-user server import nothing that only the hub needs."""
    import jupyterhub  # noqa: F401  (parent of the modules below; itself tiny)

    stand_in("sqlalchemy", package=True)
    stand_in("sqlalchemy.exc", SQLAlchemyError=SQLAlchemyError)
    stand_in("jupyterhub.orm")
    stand_in("jupyterhub.roles")
    stand_in("jupyterhub.handlers", package=True)
    stand_in("jupyterhub.handlers.pages", HealthCheckHandler=HealthCheckHandler)
    # None in sys.modules is Python's own way to say "not installed": jsonschema then skips the formats it would check with it.
    sys.modules["rfc3987_syntax"] = None  # pyright: ignore[reportArgumentType]
    # Used only when JupyterLab asks for block lists, news or its extension manager.
    lazy("requests")
    lazy("httpx")


def main() -> None:
    """Become the single-user server."""
    os.environ.setdefault("JUPYTERHUB_SINGLEUSER_EXTENSION", "1")
    sys.path.append(EXTENSION_FOLDER)
    if os.environ.get("SEMESTERHUB_STUDENT_SERVER", "") != "stock":
        leave_out_the_hub()
    from jupyterhub.singleuser.extension import main as serve

    serve()


if __name__ == "__main__":
    main()
