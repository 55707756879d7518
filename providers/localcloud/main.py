"""Entry of the plugin: `python main.py <engine address>`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from providers.base import serve
from providers.localcloud.provider import PROVIDER

if __name__ == "__main__":
    serve(PROVIDER)
