"""The write seam: a reader sees the old file or the new one, nothing is left behind, and hashes name contents."""

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.files import (
    Record,
    append_line,
    bytes_hash_or_none,
    canonical_json,
    file_hash,
    json_hash,
    move_folder,
    read_json_object,
    write_atomic,
    write_json,
    write_text,
)
from taskclf_dagster.errors import UnreadableFileError


class Pair(Record):
    """A record of two fields."""

    a: int
    b: float


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half_and_fail(path: Path) -> None:
    path.write_text("half", encoding="utf-8")
    raise RuntimeError("disk full")


def test_a_new_file_gets_its_folder_and_nothing_but_itself(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "note.txt", "new")
    assert names(tmp_path / "a" / "b") == ["note.txt"]
    assert (tmp_path / "a" / "b" / "note.txt").read_text(encoding="utf-8") == "new"


def test_writing_again_replaces_the_whole_file(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "a long first text")
    write_text(tmp_path / "note.txt", "short")
    assert (tmp_path / "note.txt").read_bytes() == b"short"


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "old")
    with pytest.raises(RuntimeError, match="disk full"):
        write_atomic(tmp_path / "note.txt", write_half_and_fail)
    assert names(tmp_path) == ["note.txt"]
    assert (tmp_path / "note.txt").read_text(encoding="utf-8") == "old"


def test_a_failed_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk full"):
        write_atomic(tmp_path / "note.txt", write_half_and_fail)
    assert names(tmp_path) == []


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")
    seen = []

    def write(temporary: Path) -> None:
        temporary.write_text("new", encoding="utf-8")
        seen.append((temporary.parent, path.read_text(encoding="utf-8")))

    write_atomic(path, write)
    assert seen == [(tmp_path, "old")]  # the same folder, so that the rename stays on one file system
    assert path.read_text(encoding="utf-8") == "new"


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "note.txt").mkdir()
    with pytest.raises(OSError, match=r"note\.txt"):
        write_text(tmp_path / "note.txt", "new")
    assert names(tmp_path) == ["note.txt"]


def test_other_accounts_may_read_what_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "new")
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_refused_and_the_old_file_stays(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "figures.json", {"macro_f1": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "figures.json", {"macro_f1": value})
    assert names(tmp_path) == ["figures.json"]
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == {"macro_f1": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_hash({"deep": {"down": value}})


def test_written_json_is_indented_keeps_key_order_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "x.json").read_bytes() == '{\n  "b": 1,\n  "a": "ä"\n}\n'.encode()


def test_concurrent_writers_never_tear_a_file(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    rounds, writers = 60, 4
    write_json(path, {"writer": 0, "filler": "0"})
    done = threading.Event()
    torn: list[str] = []

    def write(writer: int) -> None:
        for _ in range(rounds):
            write_json(path, {"writer": writer, "filler": str(writer) * 4000 * (writer + 1)})

    def read() -> int:
        reads = 0
        while not done.is_set():
            value = read_json_object(path)
            if set(str(value["filler"])) != {str(value["writer"])}:
                torn.append(str(value)[:80])
            reads += 1
        return reads

    with ThreadPoolExecutor(writers + 1) as pool:
        reading = pool.submit(read)
        for writing in [pool.submit(write, writer) for writer in range(writers)]:
            writing.result()
        done.set()
        assert reading.result() > 0
    assert torn == []
    assert names(tmp_path) == ["active.json"]


def test_appended_lines_stand_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.jsonl"
    for number in range(3):
        append_line(path, f'{{"n":{number}}}')
    assert path.read_text(encoding="utf-8") == '{"n":0}\n{"n":1}\n{"n":2}\n'


def test_a_line_appended_behind_a_torn_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"n":0}\n{"n":1')  # the power went while the second line was written
    append_line(path, '{"n":2}')
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == '{"n":0}'
    assert lines[-1] == '{"n":2}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "delimiter"),
        (b"[]", "not list"),
        (b"null", "not NoneType"),
        (b'"text"', "not str"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 100_000, ""),
    ],
    ids=["empty", "truncated", "array", "null", "text", "not utf-8", "nested too deep"],
)
def test_what_is_not_a_json_object_is_told_with_its_path_and_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "active.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError) as caught:
        read_json_object(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "a folder"])
def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "active.json")
    with pytest.raises(UnreadableFileError, match=r"active\.json cannot be read"):
        read_json_object(tmp_path / "active.json")


def test_a_file_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    assert bytes_hash_or_none(path) is None
    path.write_bytes(b"abc")
    # sha256("abc"), FIPS 180-2 appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(path) == bytes_hash_or_none(path) == expected


def test_canonical_json_does_not_depend_on_key_order_and_has_no_spaces() -> None:
    assert canonical_json({"b": [1, 2.5], "a": {"d": None, "c": "ä"}}) == '{"a":{"c":"ä","d":null},"b":[1,2.5]}'
    assert json_hash({"b": 1, "a": 2}) == json_hash({"a": 2, "b": 1}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_a_record_is_named_by_its_values() -> None:
    assert Pair(a=1, b=2.0).record_hash == hashlib.sha256(b'{"a":1,"b":2.0}').hexdigest()
    assert Pair(a=1, b=2.0).record_hash != Pair(a=1, b=2.5).record_hash


def test_a_record_cannot_be_changed_and_knows_no_other_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Pair(a=1, b=2.0).a = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Pair.model_validate({"a": 1, "b": 2.0, "c": 3})


def test_a_moved_folder_lies_only_at_its_new_place(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "model.txt").write_text("tree", encoding="utf-8")
    move_folder(tmp_path / "built", tmp_path / "models" / "one")
    assert names(tmp_path) == ["models"]
    assert (tmp_path / "models" / "one" / "model.txt").read_text(encoding="utf-8") == "tree"


def test_a_folder_is_not_moved_over_another(tmp_path: Path) -> None:
    for name in ("built", "taken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.txt").write_text(name, encoding="utf-8")
    with pytest.raises(OSError, match="taken"):
        move_folder(tmp_path / "built", tmp_path / "taken")
    assert [(tmp_path / name / "model.txt").read_text(encoding="utf-8") for name in ("built", "taken")] == ["built", "taken"]
