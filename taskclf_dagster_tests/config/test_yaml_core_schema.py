"""Plain YAML values have the types of YAML 1.2: nothing is octal, sexagesimal, a date or a truth that does not look like one."""

import math
from pathlib import Path

import pytest

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.yaml_files import read_mapping
from taskclf_dagster.errors import SettingsError

READ = {
    "007": 7,
    "-012": -12,
    "0o17": 15,
    "0x1F": 31,
    "1e3": 1000.0,
    "010.5": 10.5,
    ".5": 0.5,
    "-.Inf": -math.inf,
    "True": True,
    "FALSE": False,
    "Null": None,
    "59:59": "59:59",
    "1:00:00.5": "1:00:00.5",
    "0b11": "0b11",
    "1_000": "1_000",
    "Yes": "Yes",
    "off": "off",
    "y": "y",
    "2026-01-05": "2026-01-05",
    "2026-01-05 10:00:00": "2026-01-05 10:00:00",
    "0o8": "0o8",
}


def test_plain_values_are_those_of_the_core_schema(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("".join(f"key{number}: {text}\n" for number, text in enumerate(READ)), encoding="utf-8")
    found = dict(zip(READ, read_mapping(path).values(), strict=True))
    assert {text: (type(value), value) for text, value in found.items()} == {text: (type(value), value) for text, value in READ.items()}


@pytest.mark.parametrize("line", ["data_lookback_days: 1:30", "auto_promote: on", "min_labels: 1_000", "timeout_minutes: !!int 1:30"])
def test_what_yaml_1_1_would_take_for_another_number_or_truth_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load_retrain_config(path)


def test_leading_zeros_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 0300\n", encoding="utf-8")
    assert load_retrain_config(path).dataset.min_labels == 300


def test_a_key_that_is_written_twice_is_named_with_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 300\ntrain_params:\n  num_leaves: 7\n  num_boost_round: 5\n  num_leaves: 9\nauto_promote: true\n", "utf-8")
    with pytest.raises(SettingsError, match=r"num_leaves is written twice in line 5"):
        load_retrain_config(path)
