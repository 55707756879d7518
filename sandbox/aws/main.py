"""Entry of the stand-in plugin. Installed by sandbox/plugins.py; refuses to run outside the sandbox."""

from __future__ import annotations

import importlib.metadata
import os
import sys

from providers.base import serve

if __name__ == "__main__":
    if not os.environ.get("SEMESTERHUB_SANDBOX"):
        sys.exit("this is the sandbox's stand-in for the provider aws; it runs only under `./hub … --sandbox`")
    from sandbox.aws.provider import stand_in

    serve(stand_in(importlib.metadata.version("pulumi-aws")))
