"""Stands in for Pulumi's Python during `./hub load.preview`: the same program, with its own CPU time written down.

The language host calls it as it would call Python: `timed.py -u .../pulumi-language-python-exec --monitor … program`.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

marks = {"interpreter": time.process_time()}

if any(part.endswith("pulumi-language-python-exec") for part in sys.argv):
    import pulumi.resource

    marks["sdk core imported"] = time.process_time()
    register = pulumi.resource.register_resource

    def noted(res: Any, ty: str, *args: Any, **more: Any) -> Any:
        if ty != "pulumi:pulumi:Stack":
            marks.setdefault("first resource", time.process_time())
        return register(res, ty, *args, **more)

    pulumi.resource.register_resource = noted

    def write() -> None:
        marks["end"] = time.process_time()
        Path(os.environ["SEMESTERHUB_MARKS"]).write_text(json.dumps(marks), "utf-8")

    atexit.register(write)

arguments = [part for part in sys.argv[1:] if part != "-u"]
if arguments and arguments[0] == "-c":
    sys.argv = ["-c", *arguments[2:]]
    exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
elif arguments[:1] == ["-m"]:
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
else:
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")
