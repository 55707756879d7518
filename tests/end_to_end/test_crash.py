"""`up` killed with SIGKILL before and after every resource of a light stack; then one `up` puts everything right."""

from __future__ import annotations

import pytest

from operations import crash

pytestmark = pytest.mark.sandbox


@pytest.mark.timeout(3000)
def test_up_killed_at_every_boundary_in_a_row_converges_with_the_next_one() -> None:
    trials = crash.run(cascade=True)
    assert len(trials) > 20
    assert all(trial.killed for trial in trials)


@pytest.mark.timeout(1800)
def test_up_killed_at_a_boundary_from_nothing_converges() -> None:
    """A sample of `./hub load.crash`, which tries them all this way."""
    trials = crash.run(sample=1)
    assert [trial.problems for trial in trials] == [[]]
