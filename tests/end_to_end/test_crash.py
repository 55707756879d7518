"""`up` killed with SIGKILL before and after every resource of a light stack; then one `up` puts everything right.

Each kill finds what the one before left. `./hub load.crash` starts from nothing for each, with the whole semester.
"""

from __future__ import annotations

import pytest

from operations import crash

pytestmark = pytest.mark.sandbox


@pytest.mark.timeout(3000)
def test_up_killed_at_every_boundary_in_a_row_converges_with_the_next_one() -> None:
    trials = crash.run(cascade=True)
    assert len(trials) > 20
    assert all(trial.killed for trial in trials)
