"""Starts IPython's kernel without loading the debugger, which costs a tenth of a CPU-second and 8 MB in every kernel.

ipykernel runs without debugpy when it is not installed; this says so for the moment in which ipykernel asks, and JupyterLab
then shows no debugger button. `%debug`, `pdb` and `import debugpy` work as ever. SEMESTERHUB_DEBUGGER=1 keeps the debugger.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Python puts the script's folder first on the path; a student's notebook must not see the image's own modules.
    # IPython adds the working directory itself, once nothing can be shadowed by it any more.
    del sys.path[0]
    if os.environ.get("SEMESTERHUB_DEBUGGER", "") != "1":
        sys.modules["debugpy"] = None  # pyright: ignore[reportArgumentType]  # Python's own way to say "not installed"
        import ipykernel.debugger  # noqa: F401

        del sys.modules["debugpy"]

    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
