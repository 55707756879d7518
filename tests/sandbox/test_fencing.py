"""The site that the program itself deploys: found by its tags, switched off, and switched on again without a trace."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations import stacks
from operations.dns import open_dns
from operations.power import power_of
from tests.sandbox.offline import Offline, changed

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

FALLBACK = "192.0.2.10"


@pytest.mark.parametrize("stack", ["fa16", "sp16"])
def test_a_deployed_site_is_stopped_its_name_switched_and_both_come_back(
    brought_up: Callable[[str], Offline], stack: str
) -> None:
    offline, semester = brought_up(stack), stacks.load(stack)
    with offline.session() as sandbox:
        endpoint = sandbox.endpoints[offline.cloud]
        power, dns = power_of(stack, semester, endpoint=endpoint), open_dns(semester, stack, endpoint=endpoint)
        assert power.check() == dns.check() == ""
        before = dns.look()
        assert len(before.addresses) == 1 and before.ttl_s == 60

        assert "is off" in power.stop().detail and power.state() == "off"
        assert power.site.doors() == ()
        assert dns.switch([FALLBACK], 60).seen.addresses == (FALLBACK,)
        # Both kinds of doors were there to be closed: nothing was overlooked because of a name.
        power.start()
        doors = " ".join(power.site.doors())
        assert "homes" in doors and len(power.site.doors()) >= 2
    # A deployment while the class is on the fallback (each one looks first at what is really there) leaves the name alone.
    assert changed(offline.run("up")) == {}
    with offline.session() as sandbox:
        there = open_dns(semester, stack, endpoint=sandbox.endpoints[offline.cloud]).look()
    assert there.addresses == (FALLBACK,) != before.addresses
