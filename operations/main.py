"""What `./hub` hands over to: a few words of its own, every other word is an invoke task of tasks.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from operations.errors import UserError
from operations.paths import ROOT, VENV_PYTHON, WORK_DIR

HELP = """\
Semesterhub: a JupyterHub for a university course, as code.

  ./hub up                deploy the demo semester on this machine, and print its address and logins
  ./hub status            nodes, servers, memory, versions
  ./hub preview           what `up` would change
  ./hub destroy           remove it (students' homes stay)
  ./hub test              run every test (--fast: only those without Docker)

  ./hub semester.new --stack fa26     a semester of your own, then: ./hub up --stack fa26
  ./hub --list                        every task;  ./hub --help TASK tells its options
  ./hub pulumi …                      the Pulumi CLI with everything set
  ./hub shell                         a shell where plain `pulumi up --stack demo` works
  ./hub tofu …                        the OpenTofu CLI
  ./hub --setup                       only obtain what the tasks need
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. User errors are printed, without a traceback."""
    try:
        return _dispatch(list(arguments))
    except UserError as error:
        print(f"\nhub: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nhub: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        # components/ does not import operations/, so its one user error is a type of its own.
        if type(error).__name__ == "SemesterError":
            print(f"\nhub: {error}", file=sys.stderr)
            return 1
        raise


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"help", "-h"} or arguments == ["--help"]:
        print(HELP, end="")
        return 0
    word, rest = arguments[0], arguments[1:]
    if word == "--setup":
        return _setup()
    if word == "pulumi":
        from operations import passthrough

        return passthrough.pulumi(rest)
    if word == "tofu":
        from operations import passthrough

        return passthrough.tofu(rest)
    if word == "shell":
        from operations import passthrough

        return passthrough.shell()
    if word == "test" and rest[:1] != ["--help"]:
        from operations import testing

        return testing.run(rest)
    return _task(arguments)


def _setup() -> int:
    from operations import setup

    engine = setup.pulumi()
    print(f"Pulumi {engine.version} ({engine.source}), Python environment {VENV_PYTHON.parent.parent}")
    return 0


def _task(arguments: list[str]) -> int:
    from invoke.program import Program

    os.environ.setdefault("SEMESTERHUB_CWD", str(Path.cwd()))
    os.chdir(ROOT)
    WORK_DIR.mkdir(exist_ok=True)
    import tasks

    program = Program(name="hub", binary="./hub", binary_names=["hub"], namespace=tasks.namespace, version="0.1.0")
    try:
        program.run(["./hub", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
