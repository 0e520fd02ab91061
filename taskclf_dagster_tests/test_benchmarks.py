"""The benchmark runs: nothing else calls what it measures by the names that it uses."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_benchmark_of_a_small_home_prints_its_table() -> None:
    project = Path(__file__).parents[1]
    command = [sys.executable, "benchmarks/run.py", "--windows", "5000", "--runs", "1"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "END TO END" in done.stdout
    assert "peak memory = " in done.stdout
