"""The tables of load.preview: fixed and per-resource cost, and where the time goes, computed by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from operations.preview_time import PROGRAM, Figures, Sample, own_share_s, tables

pytestmark = pytest.mark.unit

MARKS = {"interpreter": 0.1, "sdk core imported": 0.5, "first resource": 1.2, "end": 1.7}


def test_fixed_and_per_resource_cost_are_a_line_through_both_measurements() -> None:
    found = [
        Figures("1 x fa26", 1, 100, 5.0, 8.0, MARKS),
        Figures("10 x fa26", 10, 1000, 14.0, 26.0, {**MARKS, "end": 4.7}),
    ]
    text = tables(found, [Sample(1.0, 1.5, 100), Sample(10.0, 15.0, 1000)])
    assert "| Pulumi | 4.00 | 10.00 | 6.00 | 20.00 |" in text
    assert "| OpenTofu | 0.00 | 10.00 | 0.00 | 15.00 |" in text
    assert own_share_s(*found) == pytest.approx(1.7 - 100 * 3 / 900)
    assert "| of Pulumi's the Python program: imports, planning; declaring | | | 1.37 | 3.33 |" in text
    assert "| the program until its first resource: imports, reading, planning | 0.70 | 0.70 |" in text
    assert "| the program afterwards: declaring, imports that waited | 0.50 | 3.50 |" in text
    assert "| engine, language host and stand-in: checks and diffs | 6.30 | 21.30 |" in text
    assert "| all | 8.00 | 26.00 |" in text


def test_the_programs_own_time_is_noted_where_its_first_resource_is(tmp_path: Path) -> None:
    """With a program that works, imports, then declares; the host's own script is played by a few lines."""
    host = tmp_path / "pulumi-language-python-exec"
    host.write_text(
        "import time, pulumi.resource\n"
        "def work(seconds):\n"
        "    end = time.process_time() + seconds\n"
        "    while time.process_time() < end: pass\n"
        "work(0.3)\n"
        "try:\n"
        "    pulumi.resource.register_resource(None, 'pulumi:pulumi:Stack')\n"
        "except Exception: pass\n"
        "work(0.3)\n"
        "try:\n"
        "    pulumi.resource.register_resource(None, 'aws:ec2/vpc:Vpc')\n"
        "except Exception: pass\n"
        "work(0.2)\n",
        "utf-8",
    )
    marks = tmp_path / "marks.json"
    done = subprocess.run(
        [sys.executable, str(PROGRAM / "timed.py"), "-u", str(host), "--monitor", "x"],
        env={**os.environ, "SEMESTERHUB_MARKS": str(marks)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(marks.read_text("utf-8"))
    assert seen["interpreter"] < seen["sdk core imported"]
    assert 0.55 < seen["first resource"] - seen["sdk core imported"] < 1.5
    assert 0.15 < seen["end"] - seen["first resource"] < 1.0
