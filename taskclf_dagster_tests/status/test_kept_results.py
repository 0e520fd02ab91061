"""Results that are kept: computed again when their files change, or when they are old for what they cost."""

import os
from pathlib import Path

import pytest

from taskclf_dagster.status.kept_results import COST_FACTOR, SHORTEST_SECONDS, KeptResult, take_stamps


@pytest.mark.parametrize("cost", [0.0, 2.0])
def test_a_result_is_kept_for_fifty_times_its_cost_and_half_a_minute_at_least(cost: float) -> None:
    now, made = [100.0], list[float]()
    kept, lifetime = KeptResult[int](lambda: now[0]), max(SHORTEST_SECONDS, COST_FACTOR * cost)

    def compute() -> int:
        now[0] += cost
        made.append(now[0])
        return len(made)

    assert kept.get("a", compute) == 1
    now[0] = made[0] + lifetime - 0.1
    assert kept.get("a", compute) == 1
    now[0] = made[0] + lifetime
    assert kept.get("a", compute) == 2


def test_another_key_computes_at_once_and_an_error_is_not_kept() -> None:
    kept = KeptResult[int]()
    assert [kept.get(key, lambda: 1) for key in ("a", "b")] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        kept.get("c", lambda: 1 // 0)
    assert kept.get("c", lambda: 3) == 3


def test_stamps_differ_once_a_file_is_replaced_added_or_changed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    file = folder / "inner" / "file"
    file.write_text("one", encoding="utf-8")
    seen = [take_stamps([folder, tmp_path / "none"], depth=2)]
    os.utime(file, ns=(0, 0))
    seen.append(take_stamps([folder], depth=2))
    (folder / "inner" / "other").write_text("", encoding="utf-8")
    seen.append(take_stamps([folder], depth=2))
    assert len(set(seen)) == 3
    assert take_stamps([tmp_path / "none"]) == ()
