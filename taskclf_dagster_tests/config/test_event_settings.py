"""Settings of event sinks: what a sink may be, and secrets that were written here by mistake."""

import hashlib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.event_settings import AppriseSink, EventSettings, JsonLinesSink
from taskclf_dagster.config.event_types import FOR_PEOPLE, EventType
from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster_tests.config.yaml_documents import everything_printed, kinds, load_error, write

SECRETS: dict[str, tuple[object, str]] = {
    # where the secret is: the sink, and the kind of the error
    "a password in the URL of a webhook": ({"type": "webhook", "url": "https://ann:TOPSECRET@h.example/x"}, "value_error"),
    "a user in the URL of a webhook": ({"type": "webhook", "url": "https://TOPSECRET@h.example/x"}, "value_error"),
    "a token in the query of a webhook": ({"type": "webhook", "url": "https://h.example/x?key=TOPSECRET"}, "value_error"),
    "a token in the fragment of a webhook": ({"type": "webhook", "url": "https://h.example/x#TOPSECRET"}, "value_error"),
    "a URL without a scheme": ({"type": "webhook", "url": "ann:TOPSECRET@h.example"}, "value_error"),
    "a password of redis": ({"type": "redis", "url": "redis://:TOPSECRET@127.0.0.1:6379/0"}, "value_error"),
    "a password of redis in the query": ({"type": "redis", "url": "rediss://h.example/0?password=TOPSECRET"}, "value_error"),
    "a URL with a password beside url_env": ({"type": "redis", "url": "redis://TOPSECRET", "url_env": "X"}, "value_error"),
    "a secret for a variable": ({"type": "webhook", "url_env": "X", "secret_env": "TOP-TOPSECRET"}, "value_error"),
    "a URL for a variable": ({"type": "webhook", "url_env": "https://u:TOPSECRET@h"}, "value_error"),
    "a secret under an unknown key": ({"type": "webhook", "url_env": "X", "secret": "TOPSECRET"}, "extra_forbidden"),
    "a sink of an unknown type": ({"type": "https://u:TOPSECRET@h"}, "union_tag_invalid"),
    "a sink without a type": ({"url": "https://u:TOPSECRET@h"}, "union_tag_not_found"),
    "a sink that is a text": ("https://u:TOPSECRET@h", "model_attributes_type"),
    "a list for a URL": ({"type": "webhook", "url": ["TOPSECRET"]}, "string_type"),
    "a key without a space behind it": ({"type": "webhook", "url_env": "X", "url:https://u:TOPSECRET@h": None}, "extra_forbidden"),
    "a URL of apprise": ({"type": "apprise", "url": "json://h/TOPSECRET", "url_env": "X"}, "extra_forbidden"),
    "a URL of apprise for a variable": ({"type": "apprise", "url_env": "json://h/TOPSECRET"}, "value_error"),
    "a URL among the types of events": ({"type": "apprise", "url_env": "X", "events": ["json://h/TOPSECRET"]}, "literal_error"),
    "a URL for a path": ({"type": "jsonl", "path": "https://u:TOPSECRET@h"}, "value_error"),
}
BAD_SINKS: dict[str, tuple[object, str]] = {
    "an unknown type": ({"type": "mail"}, "union_tag_invalid"),
    "no URL": ({"type": "webhook"}, "value_error"),
    "two URLs": ({"type": "redis", "url": "redis://127.0.0.1", "url_env": "X"}, "value_error"),
    "a timeout of more than a minute": ({"type": "webhook", "url": "http://127.0.0.1", "timeout_seconds": 61}, "less_than_equal"),
    "no timeout": ({"type": "webhook", "url": "http://127.0.0.1", "timeout_seconds": 0}, "greater_than"),
    "no events": ({"type": "apprise", "url_env": "X", "events": []}, "too_short"),
    "an unknown event": ({"type": "jsonl", "path": "artifacts/events/x", "events": ["model.promotet"]}, "literal_error"),
    "no recipient": ({"type": "apprise"}, "missing"),
    "a timeout of apprise of more than a minute": ({"type": "apprise", "url_env": "X", "timeout_seconds": 60.5}, "less_than_equal"),
    "no timeout of apprise": ({"type": "apprise", "url_env": "X", "timeout_seconds": 0}, "greater_than"),
    "no name of a variable": ({"type": "webhook", "url": "http://127.0.0.1", "secret_env": "MY KEY"}, "value_error"),
}
GOOD_URLS = (
    *(("webhook", "http://127.0.0.1:8080/events"), ("webhook", "https://example.org/a/b%40c")),
    *(("redis", "redis://localhost:6379/0"), ("redis", "rediss://[::1]/1"), ("redis", "unix:///run/redis.sock")),
)
GOOD_PATHS = ("artifacts/events/events.jsonl", "artifacts/events/mine/of today.jsonl", "./artifacts/events/x")
BAD_PATHS = (
    *("", ".", "events.jsonl", "models/active_history.jsonl", "data/processed/labels_v1/labels.parquet", "artifacts/outbox/x"),
    *("artifacts/events", "artifacts/events/", "artifacts/eventsx/x", "x/artifacts/events/x", "artifacts/events/../decisions/x"),
    *("/artifacts/events/x", "/tmp/x", "../artifacts/events/x", "artifacts/events/.."),  # noqa: S108  # no file is made
)


def test_a_secret_among_the_events_is_refused_and_never_printed(tmp_path: Path) -> None:
    found = {}
    for name, (sink, kind) in SECRETS.items():
        error = load_error(write(tmp_path, "events.sinks", [sink]))
        if [found_kind for _, found_kind in kinds(error)] != [kind] or "TOPSECRET" in everything_printed(error):
            found[name] = kinds(error)
    assert found == {}


@pytest.mark.parametrize("value", ["TOPSECRET", ["TOPSECRET"], {"url": "TOPSECRET"}], ids=["text", "list", "mapping"])
def test_a_secret_is_not_printed_under_a_misspelled_key_of_events(tmp_path: Path, value: object) -> None:
    for key in ("events", "event", "sinks", "events.sink", "events.sinks", "url"):
        error = load_error(write(tmp_path, key, value))
        assert error.invalid[0].key.startswith(key)
        assert "TOPSECRET" not in everything_printed(error)


def test_the_settings_of_events_alone_do_not_print_a_secret_either() -> None:
    with pytest.raises(ValidationError) as caught:
        EventSettings.model_validate({"sinks": [{"type": "redis", "url": "redis://:TOPSECRET@h"}]})
    assert "TOPSECRET" not in str(caught.value)


def test_a_sink_that_cannot_work_is_refused(tmp_path: Path) -> None:
    errors = {name: load_error(write(tmp_path, "events.sinks", [sink])) for name, (sink, _) in BAD_SINKS.items()}
    assert {name: [kind for _, kind in kinds(error)] for name, error in errors.items()} == {
        name: [kind] for name, (_, kind) in BAD_SINKS.items()
    }


def test_messages_name_the_rule_and_no_value(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    shown = ("a password in the URL of a webhook", "a secret for a variable", "a sink of an unknown type", "a URL for a path")
    sinks = {name: SECRETS[name][0] for name in shown} | {"no URL": BAD_SINKS["no URL"][0]}
    messages = {name: [str(i) for i in load_error(write(tmp_path, "events.sinks", [sink])).invalid] for name, sink in sinks.items()}
    assert messages == snapshot


def test_a_url_without_a_secret_is_allowed(tmp_path: Path) -> None:
    for kind, url in GOOD_URLS:
        (sink,) = load_retrain_config(write(tmp_path, "events.sinks", [{"type": kind, "url": url}])).events.sinks
        assert not isinstance(sink, JsonLinesSink | AppriseSink)
        assert sink.url == url


def test_files_of_events_are_allowed_below_their_folder_only(tmp_path: Path) -> None:
    sinks = [{"type": "jsonl", "path": path} for path in GOOD_PATHS]
    loaded = load_retrain_config(write(tmp_path, "events.sinks", sinks)).events.sinks
    assert tuple(sink.path for sink in loaded if isinstance(sink, JsonLinesSink)) == GOOD_PATHS
    refused = load_error(write(tmp_path, "events.sinks", [{"type": "jsonl", "path": path} for path in BAD_PATHS]))
    assert kinds(refused) == [(f"events.sinks.{number}.jsonl.path", "value_error") for number in range(len(BAD_PATHS))]


def test_people_are_notified_of_what_they_may_have_to_act_on_unless_other_types_are_chosen(tmp_path: Path) -> None:
    people = [{"type": "apprise", "url_env": "X"}, {"type": "apprise", "url_env": "X", "events": ["model.scored"]}]
    usual, chosen = load_retrain_config(write(tmp_path, "events.sinks", people)).events.sinks
    assert (usual.events, chosen.events) == ([*FOR_PEOPLE], ["model.scored"])
    assert {"model.awaiting_approval", "model.retrain.failed"} <= {*FOR_PEOPLE} < {*get_args(EventType)}


def test_nobody_is_notified_by_the_shipped_settings() -> None:
    assert [sink.type for sink in load_retrain_config().events.sinks] == ["jsonl"]


def test_chosen_types_make_another_sink_and_none_the_same_as_before() -> None:
    line = {"type": "jsonl", "path": "artifacts/events/a"}
    plain, chosen = EventSettings.model_validate({"sinks": [line, {**line, "events": ["model.promoted"]}]}).sinks
    assert plain.name == "jsonl-" + hashlib.sha256(b'{"type":"jsonl","path":"artifacts/events/a"}').hexdigest()[:8] != chosen.name


def test_another_setting_is_another_sink_by_name() -> None:
    first, second, same = EventSettings.model_validate(
        {"sinks": [{"type": "jsonl", "path": f"artifacts/events/{name}"} for name in ("a", "b", "a")]}
    ).sinks
    assert first.name == same.name != second.name
    assert first.name.startswith("jsonl-")
