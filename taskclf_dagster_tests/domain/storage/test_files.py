"""Files of a home: a reader sees the old file or the new one, nothing is left behind, and hashes name contents."""

import errno
import hashlib
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.storage.files import (
    hash_file,
    hash_file_if_exists,
    make_folders,
    move_folder,
    read_bytes_if_exists,
    remove_tree,
    write_atomic,
    write_json,
    write_synced,
    write_text,
)
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record, canonical_json, json_hash, replace_unrepresentable, sorted_json
from taskclf_dagster.errors import UnreadableFileError, UnsafeFileSystemError
from taskclf_dagster_tests.registry_scenario import Recording, WithoutRename


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
    for refuses in (canonical_json, json_hash, sorted_json):
        with pytest.raises(ValueError, match=r"not JSON compliant|not representable"):
            refuses({"deep": {"down": [value]}})


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


def test_bytes_are_durable_before_they_get_their_name_and_the_name_after(tmp_path: Path) -> None:
    recording = Recording()
    with use_file_system(recording):
        write_json(tmp_path / "active.json", {"a": 1})
    (_, temporary), *_ = recording.calls
    assert re.fullmatch(r"\.active\.json\.\d+-[0-9a-f]{32}\.tmp", temporary)
    assert recording.calls == [
        ("create", temporary),
        ("sync_file", temporary),
        ("replace", "active.json"),
        ("sync_folder", tmp_path.name),
    ]


def test_two_writes_never_share_a_temporary_name(tmp_path: Path) -> None:
    recording = Recording()
    with use_file_system(recording):
        for _ in range(2):
            write_text(tmp_path / "a", "x")
    assert len({name for call, name in recording.calls if call == "create"}) == 2


def test_every_new_folder_on_the_way_is_made_durable_from_the_top(tmp_path: Path) -> None:
    recording = Recording()
    with use_file_system(recording):
        make_folders(tmp_path / "a" / "b")
        make_folders(tmp_path / "a" / "b")
    assert recording.calls == [("make_folder", "a"), ("sync_folder", tmp_path.name), ("make_folder", "b"), ("sync_folder", "a")]


def test_a_file_written_in_place_is_synced_and_never_lies_over_another(tmp_path: Path) -> None:
    recording = Recording()
    with use_file_system(recording):
        write_synced(tmp_path / "model.txt", b"tree")
        with pytest.raises(FileExistsError):
            write_synced(tmp_path / "model.txt", b"other")
    assert recording.calls[:2] == [("create", "model.txt"), ("sync_file", "model.txt")]
    assert (tmp_path / "model.txt").read_bytes() == b"tree"


def test_a_moved_folder_is_durable_in_both_folders(tmp_path: Path) -> None:
    (tmp_path / "staging" / "one").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    recording = Recording()
    with use_file_system(recording):
        move_folder(tmp_path / "staging" / "one", tmp_path / "models" / "one")
    assert recording.calls == [("rename", "one"), ("sync_folder", "models"), ("sync_folder", "staging")]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS], ids=lambda number: errno.errorcode[number])
def test_a_file_system_that_cannot_rename_is_reported_and_the_old_file_stays(tmp_path: Path, number: int) -> None:
    write_text(tmp_path / "a", "old")
    with use_file_system(WithoutRename(number)), pytest.raises(UnsafeFileSystemError, match="it cannot rename"):
        write_text(tmp_path / "a", "new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


def test_a_tree_is_removed_without_following_a_link_out_of_it(tmp_path: Path) -> None:
    for folder in ("tree/deep/deeper", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("tree/deep/deeper/a", "outside/kept"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "tree" / "dangling").symlink_to(tmp_path / "nowhere")
    remove_tree(tmp_path / "tree")
    assert names(tmp_path) == ["outside"]
    assert names(tmp_path / "outside") == ["kept"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"x")], ids=["nothing", "a file"])
def test_what_is_no_tree_is_removed_like_one(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert names(tmp_path) == []


def test_the_bytes_of_a_file_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert read_bytes_if_exists(tmp_path / "a") is None
    (tmp_path / "a").write_bytes(b"\x00\xff")
    assert read_bytes_if_exists(tmp_path / "a") == b"\x00\xff"


@pytest.mark.parametrize(("limit", "read"), [(10, True), (9, False)], ids=["exactly as long", "one byte too long"])
def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, limit: int, *, read: bool) -> None:
    path = tmp_path / "active.json"
    path.write_bytes(b'{"a": 123}')
    if read:
        assert read_json_object(path, max_bytes=limit) == {"a": 123}
    else:
        with pytest.raises(UnreadableFileError, match="it has 10 bytes, and at most 9 are read"):
            read_json_object(path, max_bytes=limit)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"deep": [{"b": 1, "a": 1, "a": 1}]}'])
def test_a_repeated_key_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "active.json").write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="key 'a' comes twice in one object"):
        read_json_object(tmp_path / "active.json")


NOT_OBJECTS = {
    "empty": (b"", "Expecting value"),
    "truncated": (b'{"a": 1', "delimiter"),
    "array": (b"[]", "not list"),
    "null": (b"null", "not NoneType"),
    "text": (b'"text"', "not str"),
    "not utf-8": (b"\xff\xfe", "utf-8"),
    "with a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "BOM"),
    "nested too deep": (b"[" * 100_000, ""),
}


def test_what_is_not_a_json_object_is_an_error_with_its_path_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    for name, (content, reason) in NOT_OBJECTS.items():
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError) as caught:
            read_json_object(path)
        assert str(path) in str(caught.value), name
        assert reason in caught.value.reason, name


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "a folder"])
def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "active.json")
    with pytest.raises(UnreadableFileError, match=r"active\.json cannot be read"):
        read_json_object(tmp_path / "active.json")


def test_a_file_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    assert hash_file_if_exists(path) is None
    path.write_bytes(b"abc")
    # sha256("abc"), FIPS 180-2 appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_file(path) == hash_file_if_exists(path) == expected


def test_canonical_json_does_not_depend_on_key_order_and_has_no_spaces() -> None:
    assert canonical_json({"b": [1, 2.5], "a": {"d": None, "c": "ä"}}) == '{"a":{"c":"ä","d":null},"b":[1,2.5]}'
    assert json_hash({"b": 1, "a": 2}) == json_hash({"a": 2, "b": 1}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_canonical_json_writes_numbers_and_sorts_keys_as_rfc_8785_does() -> None:
    numbers = {1.0: "1", -0.0: "0", 1e21: "1e+21", 1e20: "100000000000000000000", 1e-7: "1e-7", 0.1 + 0.2: "0.30000000000000004"}
    assert [canonical_json(number) for number in numbers] == list(numbers.values())
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'  # section 3.2.3: by UTF-16 code units


def test_canonical_json_that_was_read_back_gives_the_same_bytes() -> None:
    text = canonical_json({"whole": 2.0, "large": 1e20, "integer": 2**60, "list": (1, -0.0, 5e-324)})
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize(
    "value", [2**53 + 1, -(2**64) + 1, 10**400, "\ud800"], ids=["no double", "negative", "too large", "half a character"]
)
def test_what_canonical_json_cannot_keep_exactly_is_refused_and_replaced(value: object) -> None:
    with pytest.raises(ValueError, match=r"no double equals it|non-UTF-8"):
        canonical_json({"deep": [value]})
    shown = canonical_json(replace_unrepresentable({"deep": [value]}))
    assert canonical_json(replace_unrepresentable(json.loads(shown))) == shown


def test_sorted_json_is_what_seeds_and_model_ids_were_always_made_of() -> None:
    assert sorted_json({"b": [1.0, 2.5], "a": {"d": None, "c": "ä"}}) == '{"a":{"c":"ä","d":null},"b":[1.0,2.5]}'


def test_a_record_is_named_by_its_values() -> None:
    assert Pair(a=1, b=2.0).record_hash == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
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
