#!/opt/venv/bin/python3
"""Git's merge driver for notebooks: nothing of the student is lost, and nothing that the instructor added is lost either.

nbdime's own driver with `--merge-strategy use-local` drops a cell that the instructor inserted in front of a cell which the
student edited, without a word. Here the list of cells is a union (cells that either side added stay, the student's first),
and inside one cell the student's input, output and metadata win. No conflict is ever left: a notebook with conflict marks in
its JSON cannot be opened any more.

    semesterhub-merge-notebook %O %A %B     base, ours (gets the result), theirs; exit status 0 when merged
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import nbformat
from nbdime.merging.decisions import apply_decisions
from nbdime.merging.notebooks import decide_notebook_merge

UNION_OF_CELLS = Namespace(
    merge_strategy="union",
    input_strategy="use-local",
    output_strategy="use-local",
    ignore_transients=True,
    log_level="WARN",
)


def read(path: str) -> nbformat.NotebookNode:
    """A notebook; an empty file (both sides added it) counts as an empty notebook."""
    text = Path(path).read_text(encoding="utf-8")
    return nbformat.reads(text, as_version=4) if text.strip() else nbformat.v4.new_notebook()


def whole_lines(notebook: nbformat.NotebookNode, whole: bool) -> None:
    """Give every cell's source a last newline, or take it away again: lines without one are merged into each other."""
    for cell in notebook.cells:
        cell.source = f"{cell.source}\n" if whole else cell.source.removesuffix("\n")


def merge(
    base: nbformat.NotebookNode, local: nbformat.NotebookNode, remote: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """The merged notebook; what the strategies leave open is decided for `local`, the student."""
    for notebook in (base, local, remote):
        whole_lines(notebook, True)
    decisions = decide_notebook_merge(base, local, remote, UNION_OF_CELLS)
    for decision in decisions:
        if decision.conflict:
            decision.action = "local"
            decision.conflict = False
        added_by_student = any(entry.op == "addrange" for entry in decision.local_diff or ())
        if decision.action == "local_then_remote" and not added_by_student:
            # The student edited the cell in front of which the instructor's new one belongs.
            decision.action = "remote_then_local"
    merged = apply_decisions(base, decisions)
    whole_lines(merged, False)
    seen: set[str] = set()
    for cell in merged.cells:  # two cells of one id make a notebook invalid
        if "id" in cell and cell.id in seen:
            cell.id = nbformat.v4.new_raw_cell().id
        seen.add(cell.get("id", ""))
    return merged


def main(argv: list[str]) -> int:
    """Merge the files git names; status 1 leaves git's own conflict handling in charge."""
    if len(argv) != 4:
        print("usage: semesterhub-merge-notebook BASE OURS THEIRS", file=sys.stderr)
        return 2
    try:
        merged = merge(*(read(path) for path in argv[1:]))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a student's file, git must get an answer
        print(f"notebooks could not be merged cell by cell: {error}", file=sys.stderr)
        return 1
    nbformat.write(merged, argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
