"""The one reader of JSON: a value or our error for any bytes, with limits that every legitimate file keeps."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from taskclf_dagster.domain.storage import json_files
from taskclf_dagster.domain.storage.json_files import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_KEY_LENGTH,
    MAX_TEXT_LENGTH,
    look_at_json,
    parse_json,
    read_json_object,
)
from taskclf_dagster.domain.storage.path_names import find_name_problem, find_path_problem
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster_tests.hostile import nested

AT_THE_LIMIT: dict[str, tuple[Callable[[int], bytes], int]] = {
    "depth of arrays": (lambda n: b'{"a":' + nested(n - 1) + b"}", MAX_DEPTH),
    "depth of objects": (lambda n: nested(n, opening='{"a":'), MAX_DEPTH),
    "length of a key": (lambda n: json.dumps({"k" * n: 1}).encode(), MAX_KEY_LENGTH),
    "length of an inner key": (lambda n: json.dumps({"a": [{"é" * n: 1}]}).encode(), MAX_KEY_LENGTH),
    "length of a text": (lambda n: json.dumps({"a": ["t" * n]}).encode(), MAX_TEXT_LENGTH),
    "digits": (lambda n: b'{"a": [-' + b"7" * n + b"]}", MAX_DIGITS),
}


@pytest.mark.parametrize(("make", "limit"), AT_THE_LIMIT.values(), ids=AT_THE_LIMIT.keys())
def test_what_is_at_a_limit_is_read_and_what_is_one_beyond_is_refused(tmp_path: Path, make: Callable[[int], bytes], limit: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(make(limit))
    assert len(read_json_object(path)) == 1
    path.write_bytes(make(limit + 1))
    with pytest.raises(UnreadableFileError) as caught:
        read_json_object(path)
    assert str(limit) in caught.value.reason


@pytest.mark.parametrize("depth", [300, 500, 990, 2_000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["arrays", "objects"])
def test_no_depth_is_a_recursion_error(depth: int, opening: str) -> None:
    with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH} levels"):
        parse_json(nested(depth, opening=opening))


@pytest.mark.parametrize("digits", [4_300, 4_301, 100_000])
def test_no_number_is_too_long_to_be_refused_in_our_words(digits: int) -> None:
    with pytest.raises(ValueError, match=f"more than {MAX_DIGITS} digits"):
        parse_json(b'{"a": ' + b"1" * digits + b"}")


def test_a_document_of_too_many_values_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_VALUES", 1_000)
    assert parse_json(b"[" + b"1," * 998 + b"1]") == [1] * 999
    with pytest.raises(ValueError, match="more than 1000 values"):
        parse_json(b"[" + b"[]," * 1_000 + b"1]")


@pytest.mark.parametrize("key", ["\ud800", "a\udfffb"])
def test_half_a_character_in_a_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="half a character"):
        parse_json(json.dumps({"a": [{key: 1}]}).encode())


def test_values_that_taskclf_may_write_and_json_cannot_keep_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "drift_report.json"
    path.write_text('{"psi": NaN, "ratio": -Infinity, "title": "a\\ud800", "n": 9007199254740993}', encoding="utf-8")
    assert read_json_object(path) == {"psi": None, "ratio": None, "title": "a?", "n": 2.0**53}


def test_a_legitimate_file_of_a_large_home_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    thresholds = {f"{number:08x}-0000-4000-8000-000000000000": 0.5 for number in range(100_000)}
    path.write_text(json.dumps({"per_user_reject_thresholds": thresholds, "app_id": list(thresholds)}), encoding="utf-8")
    assert len(read_json_object(path)["app_id"]) == 100_000  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_reported_and_does_not_keep_a_command_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "active.json")
    assert look_at_json(tmp_path / "active.json").error is not None


@pytest.mark.parametrize("name", ["a" * 5_000, "a\0b", "\ud800"], ids=["too long", "a null byte", "half a character"])
def test_a_path_that_is_none_is_reported(tmp_path: Path, name: str) -> None:
    found = look_at_json(tmp_path / name)
    assert (found.exists, found.document, found.error is None) == (True, None, False)


NO_NAMES = ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0", "n" * 201, "é" * 101, "\udcff"]
NO_PATHS = ["/a", "..", "a/../b", "C:\\a", "a\\..\\b", "a\0b", "a/" + "n" * 201, "a/" * 600, "x/\ud800"]


def test_names_and_paths_that_no_folder_may_be_asked_for_are_found(tmp_path: Path) -> None:
    assert [name for name in NO_NAMES if find_name_problem(name) is None] == []
    assert [path for path in NO_PATHS if find_path_problem(path) is None] == []
    for text in ("a", "2026-02-04_000000_run-0003", ".hidden", "n" * 200, "ü b"):
        assert find_name_problem(text) is find_path_problem(text) is None
        assert (tmp_path / text).exists() is False
    assert find_path_problem("artifacts/snapshots/0a963156a3de73d5") is None
