"""The memory that making a dataset takes: that of a part, not that of all windows."""

import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from taskclf_dagster.demo.generator import generate_demo_home
from taskclf_dagster.home import Home

PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.domain.data.labeled_windows import open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot_parts, open_snapshot, save_snapshot
from taskclf_dagster.home import Home

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

pa.set_memory_pool(pa.system_memory_pool())
home, config, as_of = Home(Path(sys.argv[1])), load_retrain_config(None), datetime(2026, 7, 1, tzinfo=UTC)
for part_windows in (1000, int(sys.argv[2])):  # the first time, only what is loaded once is of the size of a part
    before = peak()
    short = {"data_lookback_days": 2, "training_lookback_days": 2} if part_windows == 1000 else {}
    settings = config.dataset.model_copy(update=short)
    labeled = store_labeled_windows(home, as_of=as_of, settings=settings, part_windows=part_windows).record
    snapshot, rows = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=config)
    snapshot = save_snapshot(home, snapshot, rows)
    assert open_snapshot(home, snapshot).digest() == snapshot.dataset_digest
print(len(snapshot.parts), snapshot.dataset_hash, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the largest memory of a process is read from /proc")
def test_a_dataset_in_eight_parts_takes_less_than_two_thirds_of_the_memory_of_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    generate_demo_home(home.root, end=date(2026, 6, 30), users=8, days=30)
    found = {}
    for part_windows in (1_000_000, 12_000):
        shutil.rmtree(home.artifacts, ignore_errors=True)  # an intact snapshot would be kept as it is
        command = [sys.executable, "-c", PROGRAM, str(home.root), str(part_windows)]
        parts, dataset, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        found[int(parts)] = dataset, float(peak)
    assert sorted(found) == [1, 8]
    assert found[8][0] == found[1][0]
    assert found[8][1] < found[1][1] * 2 / 3, found
