"""An object store behind a real server: whole objects, further attempts after what may pass, one sentence for what does not."""

import importlib.util
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath

from taskclf_dagster.domain.scheduling.failure_kinds import classify_failure
from taskclf_dagster.domain.storage.object_store import (
    ATTEMPTS,
    StoredObject,
    list_objects,
    look_at_object,
    open_location,
    read_object,
    read_unchanged,
    write_object,
)
from taskclf_dagster.domain.storage.places import list_names, place_exists, read_place, remove_place, write_place
from taskclf_dagster.errors import ObjectMissingError, ObjectStoreError, ObjectStoreUnavailableError
from taskclf_dagster_tests.object_stores import BUCKET, Store, serving


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with serving(monkeypatch) as store:
        yield store


def test_a_folder_of_more_objects_than_one_answer_holds_is_listed_whole(store: Store) -> None:
    names = [f"many/{number:04d}" for number in range(1203)]
    for name in names:
        store.put(name, b"x")
    store.put("many-others/1", b"x")
    found = list_objects(store.location("many"))
    assert [str(each.path) for each in found] == [f"s3://{BUCKET}/{name}" for name in names]
    assert {each.size for each in found} == {1}
    assert len(store.requests) == 2


def test_a_place_can_be_written_read_listed_and_removed_like_a_folder(store: Store, tmp_path: Path) -> None:
    for folder in (tmp_path, store.location("a/folder")):
        place = folder / "inner" / "file.txt"
        assert not place_exists(place)
        write_place(place, b"one")
        write_place(folder / "inner" / "deeper" / "other.txt", b"two")
        assert (read_place(place), list_names(folder / "inner"), list_names(folder)) == (b"one", ["file.txt"], [])
        remove_place(place)
        assert not place_exists(place)


def test_an_object_that_has_the_content_already_is_not_written_again(store: Store) -> None:
    place = store.location("x") / "y"
    for content in (b"same", b"same", b"else"):
        write_place(place, content)
    assert len(store.asked_for("PUT")) == 2
    assert store.get("x/y") == b"else"


def test_a_place_is_a_text_that_other_processes_can_be_given(store: Store) -> None:
    store.put("x/y", b"content")
    place, found = pickle.loads(pickle.dumps((store.location("x") / "y", list_objects(store.location("x"))[0])))  # noqa: S301
    assert (read_place(place), read_unchanged(found)) == (b"content", b"content")


def test_an_object_that_is_replaced_while_it_is_read_is_read_as_a_whole_later_version(store: Store) -> None:
    place, old, new = store.location("x") / "y", b"o" * 50_000, b"n" * 50_000
    store.put("x/y", old)
    (found,) = list_objects(store.location("x"))
    left = [new]

    def replace(method: str, path: str) -> None:
        if method == "GET" and "x/y" in path and "list-type" not in path and left:
            store.put("x/y", left.pop())

    store.after = replace
    assert read_unchanged(found) == new
    left[:] = [b"1", b"22", b"333", b"4444", b"55555"]
    with pytest.raises(ObjectStoreUnavailableError, match="replaced while it was read"):
        read_unchanged(look_at_object(place))


def test_an_object_that_was_replaced_since_it_was_listed_is_read_as_it_is_now(store: Store) -> None:
    store.put("x/y", b"old")
    (found,) = list_objects(store.location("x"))
    store.put("x/y", b"newer")
    assert read_unchanged(found) == b"newer"


@pytest.mark.parametrize("status", [500, 503, 0], ids=["error", "too busy", "connection cut"])
def test_errors_of_the_server_are_overcome_by_four_attempts(store: Store, status: int) -> None:
    store.put("x/y", b"content")
    left = [status] * 3  # the client has a second attempt of its own
    store.fault = lambda method, path: left.pop() if method in ("GET", "PUT") and left else None
    assert read_object(store.location("x") / "y") == b"content"
    left[:] = [status] * 3
    write_object(store.location("x") / "z", b"more")
    assert store.get("x/z") == b"more"


def test_errors_that_do_not_pass_end_after_a_few_attempts_as_transient(store: Store) -> None:
    store.put("x/y", b"content")
    store.fault = lambda method, path: 500
    with pytest.raises(ObjectStoreUnavailableError, match="cannot be reached") as caught:
        read_object(store.location("x") / "y")
    assert len(store.requests) <= 4 * ATTEMPTS
    assert classify_failure([(type(caught.value).__name__, str(caught.value))]) == "io"


def test_a_server_that_is_down_is_unavailable_and_there_again_when_it_is_started(store: Store) -> None:
    store.put("x/y", b"content")
    store.stop()
    with pytest.raises(ObjectStoreUnavailableError, match="Try again later"):
        list_objects(store.location("x"))
    store.start()
    assert read_object(store.location("x") / "y") == b"content"


def test_an_answer_that_does_not_come_in_time_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskclf_dagster.domain.storage.object_store.LISTING_SECONDS", 0.5)
    store.fault = lambda method, path: time.sleep(3)
    with pytest.raises(ObjectStoreUnavailableError, match="no answer in time"):
        list_objects(store.location("x"))


def test_an_object_is_only_missing_if_the_store_says_so(store: Store) -> None:
    store.put("x/y", b"content")
    assert (place_exists(store.location("x") / "y"), place_exists(store.location("x") / "z")) == (True, False)
    store.fault = lambda method, path: 500
    with pytest.raises(ObjectStoreUnavailableError):
        place_exists(store.location("x") / "y")


def test_a_slow_answer_is_waited_for(store: Store) -> None:
    store.put("x/y", b"content")
    store.fault = lambda method, path: time.sleep(1.0)
    assert read_object(store.location("x") / "y") == b"content"


def test_denied_access_is_one_sentence_without_further_attempts(store: Store) -> None:
    store.put("x/y", b"content")
    store.fault = lambda method, path: 403
    for act in (list_objects, read_object, look_at_object):
        store.requests.clear()
        with pytest.raises(ObjectStoreError, match=r"access is denied .*leave to list, read, write and delete") as caught:
            act(store.location("x"))
        assert len(store.requests) == 1
        assert "a-secret" not in str(caught.value)
        assert classify_failure([(type(error).__name__, str(error)) for error in (caught.value, caught.value.__cause__)]) == "error"


def test_a_missing_bucket_and_a_missing_object_are_distinguished(store: Store) -> None:
    nowhere = open_location("s3://no-such-place/x")
    assert isinstance(nowhere, UPath)
    for act in (list_objects, read_object, lambda place: write_object(place, b"")):
        with pytest.raises(ObjectMissingError, match=r"the bucket does not exist\. Create it, or correct the URL"):
            act(nowhere)
    with pytest.raises(ObjectMissingError, match="x/y cannot be used: it does not exist"):
        read_unchanged(StoredObject(store.location("x") / "y", 3, "", None))
    assert list_objects(store.location("x")) == []


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="the package is installed here")
def test_a_missing_package_is_named(store: Store) -> None:
    place = open_location("gs://bucket/x")
    assert isinstance(place, UPath)
    with pytest.raises(ObjectStoreError, match=r"pip install 'taskclf-dagster\[gcs\]'"):
        list_objects(place)


def test_missing_credentials_are_named(store: Store, tmp_path: Path) -> None:
    code = (
        "from taskclf_dagster.domain.storage.object_store import *\n"
        f"try: list_objects(open_location('s3://{BUCKET}/x'))\nexcept Exception as error: print(error)"
    )
    nothing = {"AWS_CONFIG_FILE": "/nothing", "AWS_SHARED_CREDENTIALS_FILE": "/nothing", "AWS_EC2_METADATA_DISABLED": "true"}
    environ = {"PYTHONPATH": str(Path(__file__).parents[3]), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}", **nothing}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False, cwd=tmp_path)
    assert "there are no credentials. Set them in the environment" in done.stdout, done.stderr


def test_a_file_url_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    assert open_location(f"file://{tmp_path}") == tmp_path
