"""The programs that policies are tried on declare resources, as the components' own tests do."""

from tests.components.conftest import event_loop_of_module_fixtures, own_event_loop

__all__ = ["event_loop_of_module_fixtures", "own_event_loop"]
