"""The programs that policies are tried on declare resources, as the components' own tests do."""

from tests.components.conftest import own_event_loop

__all__ = ["own_event_loop"]
