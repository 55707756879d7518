"""Policies: what no change of a semester may do. They look at what a preview plans, before anything is touched.

    verdicts = check(Facts(preview, stack="fa26", cloud="aws", budget_usd=2500))

Each verdict names its rule; a finding names the resource, the value and the remedy. What a preview cannot know yet (a
document with the id of something that is not there) is listed as such and looked at again once `up` knows it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from operations.errors import UserError
from operations.policies import access, budget, encryption, homes, identity, pins, tags
from operations.policies.facts import Facts, Findings, Rule
from operations.preview_diff.model import Verdict

__all__ = ["RULES", "Facts", "Rule", "check", "refusal"]

RULES: Final[tuple[Rule, ...]] = (
    Rule("homes-stay", "no change replaces or deletes homes", homes.stay),
    Rule("homes-protected", "homes and buckets are protected and kept", homes.protected),
    Rule("no-open-ssh", "no SSH or other administration port for the whole internet", access.open_ssh),
    Rule("no-public-nodes", "no public addresses for nodes", access.public_nodes),
    Rule("no-public-data", "no public buckets, accounts, registries or control planes", access.public_data),
    Rule("encrypted", "encryption everywhere", encryption.encrypted),
    Rule("no-wide-rights", "no administrator's rights", identity.wide_rights),
    Rule("metadata-v2", "instance metadata only by IMDSv2, one hop", identity.metadata_service, ("aws",)),
    Rule("pinned-images", "no floating images or versions", pins.images),
    Rule("tags", "the semester's tags on everything", tags.present),
    Rule("budget", "the month within its budget", budget.within),
)


def check(facts: Facts, waived: Collection[str] = ()) -> tuple[Verdict, ...]:
    """What every rule for this cloud says, in the rules' order. Raises UserError when `waived` names none."""
    known = {rule.name for rule in RULES}
    for name in waived:
        if name not in known:
            raise UserError(f"--waive {name}: there is no such policy. There are: {', '.join(sorted(known))}.")
    verdicts = []
    for rule in RULES:
        if facts.cloud in rule.clouds and rule.name not in waived:
            found = Findings()
            rule.check(facts, found)
            unique = tuple(dict.fromkeys(found.found))
            verdicts.append(Verdict(rule.name, rule.title, unique, tuple(sorted(set(found.later)))))
    return tuple(verdicts)


def refusal(stack: str, verdicts: Sequence[Verdict]) -> str:
    """The one message for a plan that breaks policies; empty where it breaks none."""
    broken = [verdict for verdict in verdicts if verdict.findings]
    if not broken:
        return ""
    count = sum(len(verdict.findings) for verdict in broken)
    lines = [f"the plan of stack '{stack}' breaks {len(broken)} polic{'y' if len(broken) == 1 else 'ies'}:"]
    for verdict in broken:
        lines.append(f"  {verdict.rule}: {verdict.title}")
        lines += [f"    - {finding}" for finding in verdict.findings[:20]]
        if len(verdict.findings) > 20:
            lines.append(f"    … and {len(verdict.findings) - 20} more")
    lines.append(f"  Nothing was touched. {count} finding{'s' if count > 1 else ''}; docs/ci.md explains each policy.")
    return "\n".join(lines)
