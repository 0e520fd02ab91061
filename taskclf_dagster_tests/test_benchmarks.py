"""The benchmark runs: nothing else calls what it measures by the names that it uses."""

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_benchmark_of_a_small_home_prints_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("benchmark_run", Path(__file__).parents[1] / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    few_rounds = run.CONFIG.replace("num_threads: 1", "num_threads: 1, num_boost_round: 5") + "search: off\n"
    monkeypatch.setattr(run, "CONFIG", few_rounds)
    monkeypatch.setattr(run, "DATA", tmp_path / "data")
    monkeypatch.setattr("sys.argv", ["run.py", "--windows", str(run.WARM_UP_WINDOWS), "--runs", "1"])
    run.main()
    printed = capsys.readouterr().out
    assert "END TO END" in printed
    assert "peak memory = " in printed
