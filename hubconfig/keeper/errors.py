"""The keeper's refusal."""

from __future__ import annotations


class KeeperError(Exception):
    """A refusal. Its text is one sentence for the admin: what was asked, why not, what to do."""
