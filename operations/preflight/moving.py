"""Checks of a semester that can move to its fallback: whether its name could be switched, and its cloud site switched off.

Both matter on the day when the cloud is away, so both are tried before, without changing anything.
"""

from __future__ import annotations

from components.semester import Semester
from operations.dns import DnsError, open_dns
from operations.power import NoMachineError, PowerError, power_of
from operations.preflight.finding import Finding, failed, passed, unknown


def name(semester: Semester, stack: str, endpoint: str = "") -> Finding:
    """Whether the provider of `fallback.dns` would take a change. `endpoint`: an emulator of it."""
    check = "hub's name"
    try:
        dns = open_dns(semester, stack, endpoint=endpoint)
        if problem := dns.check():
            return _not_switchable(semester, stack, check, problem)
        seen = dns.look()
    except DnsError as error:
        return _not_switchable(semester, stack, check, str(error))
    return passed(check, f"{semester.domain} leads to {seen} and can be switched at {dns.where}")


def _not_switchable(semester: Semester, stack: str, check: str, problem: str) -> Finding:
    if semester.cloud == "local":  # the name server of this machine's own semesters comes with its bare metal
        return unknown(check, problem, f"`./hub fallback.up --stack {stack}` starts this machine's name server")
    return failed(check, problem, f"put that right, then see `./hub dns.show --stack {stack}`")


def fencing(semester: Semester, stack: str, endpoint: str = "") -> Finding:
    """Whether the hub VM could be stopped through its cloud when it does not answer. `endpoint`: an emulator of it."""
    check = "fencing"
    try:
        return passed(check, f"{power_of(stack, semester, endpoint=endpoint).rehearse()} could be stopped from here")
    except NoMachineError:
        return unknown(check, "there is no hub VM yet", "ask again after `up`")
    except PowerError as error:
        return failed(check, str(error), "without this a failover stops and asks for `--i-have-powered-it-off`")
