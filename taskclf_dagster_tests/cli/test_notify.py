"""The command `notify`: who is notified, and a test message to each."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from taskclf_dagster.cli.main import main
from taskclf_dagster.home import Home
from taskclf_dagster_tests.receivers import free_port, http_receiver, mail_server
from taskclf_dagster_tests.scenario import make_home

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of apprise

PRIVATE = "T0-nobody-knows"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def notify(home: Home, *options: str, environ: dict[str, str] | None = None, sinks: list[dict[str, object]] | None = None) -> Result:
    config = home.root.parent / "mine.yaml"
    config.write_text(yaml.safe_dump({"events": {"sinks": [{"type": "apprise", "url_env": "NOTIFY_URL"}] if sinks is None else sinks}}))
    arguments = ["notify", "--home", str(home.root), "--config", str(config), *options]
    return CliRunner().invoke(main, arguments, env={"NOTIFY_URL": None, "COLUMNS": "300", **(environ or {})})


def test_each_recipient_gets_a_test_message_with_the_name_of_the_home(home: Home) -> None:
    with mail_server() as mailbox, http_receiver() as receiver:
        url = receiver.url.replace("http", "json")
        result = notify(home, "--test", environ={"NOTIFY_URL": f"{mailbox.url()} {url}"})
        assert (result.exit_code, result.output.count("sent")) == (0, 2)
        assert mailbox.mails[0]["subject"] == json.loads(receiver.posts[0].body)["title"] == "taskclf: test (home)"


def test_what_did_not_arrive_is_named_and_the_others_get_theirs(home: Home) -> None:
    with mail_server() as mailbox:
        mailbox.refused = {"bob@example.org"}
        urls = [mailbox.url(), mailbox.url("bob@example.org"), f"json://127.0.0.1:{free_port()}/{PRIVATE}", f"nosuch://{PRIVATE}"]
        result = notify(home, "--test", environ={"NOTIFY_URL": ",".join(urls)})
    lines = [line for line in result.output.splitlines() if "-of-4" in line]
    assert result.exit_code == 1
    assert [line.endswith("  sent") for line in lines] == [True, False, False, False]
    assert [word for word, line in zip(("550", "refused", "apprise"), lines[1:], strict=True) if word not in line] == []
    assert PRIVATE not in result.output


def test_without_test_nothing_is_sent_and_the_events_are_listed(home: Home) -> None:
    with mail_server() as mailbox:
        people: dict[str, object] = {"type": "apprise", "url_env": "NOTIFY_URL", "events": ["model.promoted"]}
        sinks = [people, {"type": "webhook", "url": "http://h/x"}]
        result = notify(home, environ={"NOTIFY_URL": mailbox.url()}, sinks=sinks)
        assert mailbox.mails == []
    assert result.exit_code == 0
    assert "model.promoted" in result.output
    assert "webhook" not in result.output


def test_a_variable_that_is_not_set_is_named(home: Home) -> None:
    result = notify(home, "--test")
    assert result.exit_code == 1
    assert "NOTIFY_URL" in result.output


def test_without_a_sink_for_people_the_message_says_how_to_add_one(home: Home) -> None:
    result = notify(home, sinks=[])
    assert result.exit_code == 1
    assert "type: apprise" in result.output
