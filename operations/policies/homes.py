"""Students' files cannot go by mistake."""

from __future__ import annotations

from typing import Final

from operations.policies.facts import Facts, Findings, at, plain_type

HOMES: Final = {
    "aws:efs/fileSystem:FileSystem": "the homes",
    "azure-native:storage:FileShare": "the homes",
}
KEPT: Final = {
    **HOMES,
    "aws:s3/bucket:Bucket": "the stack's bucket",
    "aws:s3/bucketV2:BucketV2": "the stack's bucket",
    "aws:backup/vault:Vault": "the homes' copies",
}
SAFELY: Final = (
    "Homes are never moved by a change of the stack. Safely: make a new stack (./hub semester.new), copy the homes "
    "(./hub replicate), move the class, and close the old one."
)


def protected(facts: Facts, found: Findings) -> None:
    """Homes, their copies and buckets are protected and stay when the stack goes."""
    for r in facts.preview.kept():
        what = _kept(r.type, at(r.inputs, "kind"))
        if not what:
            continue
        if not r.protect:
            found.add(
                r, "protect", False, f"It holds {what}: set the option protect, and semesterhub:homes.protect: true."
            )
        if not r.retain:
            found.add(r, "retainOnDelete", False, f"It holds {what}: set the option retain_on_delete.")


def _kept(kind: str, account_kind: object) -> str:
    plain = plain_type(kind)
    if plain == "azure-native:storage:StorageAccount":
        return "the homes" if account_kind == "FileStorage" else ""
    return KEPT.get(plain, "")


def stay(facts: Facts, found: Findings) -> None:
    """No change replaces or deletes homes."""
    for r in facts.changed():
        account_kind = at(r.old_inputs, "kind")
        if r.op in {"replace", "delete"} and _kept(r.type, account_kind) == "the homes":
            word = "replaced" if r.op == "replace" else "deleted"
            because = f" because of {', '.join(r.replacing)}" if r.replacing else ""
            found.found.append(f"{r.label} would be {word}{because}, and it holds students' files. {SAFELY}")
