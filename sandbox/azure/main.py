"""Entry of the stand-in `pulumi-resource-azure-native`: `python -m sandbox.azure.main <engine address>`."""

from __future__ import annotations

from providers.base import serve
from sandbox.azure.plugin.provider import StandIn

if __name__ == "__main__":
    serve(StandIn())
