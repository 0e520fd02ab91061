"""The places of windows and snapshots of a home: set in its own settings file only, never with credentials, and never for anything else."""

import os
from pathlib import Path

import pytest

from taskclf_dagster.config.home_layer import read_home_layer
from taskclf_dagster.config.home_locations import read_locations
from taskclf_dagster.config.loading import list_sources, load_retrain_config, resolve_config
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.entry_paths import make_absolute, require_absolute
from taskclf_dagster.errors import PathError, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.config.yaml_documents import everything_printed, kinds
from taskclf_dagster_tests.scenario import make_home, retrain_config

TAKEN = {
    "s3://bucket": "s3://bucket",
    "s3://bucket/a/b/": "s3://bucket/a/b",
    "gs://bucket/windows": "gs://bucket/windows",
    "gcs://bucket/windows": "gcs://bucket/windows",
    "az://container/windows": "az://container/windows",
    "abfs://container/windows": "abfs://container/windows",
    "abfss://container/windows": "abfss://container/windows",
    "file:///srv/windows": "file:///srv/windows",
    f"s3://bucket/{'x' * 488}": f"s3://bucket/{'x' * 488}",
}
"""A URL, and what it is taken as."""

REFUSED = {
    "no scheme": ("/srv/windows", "must begin with one of s3://"),
    "another scheme": ("https://bucket/windows", "must begin with one of s3://"),
    "memory of one process": ("memory://windows", "must begin with one of s3://"),
    "a password": ("s3://key:hunter2@bucket/x", "credentials never stand in a URL"),
    "a user": ("abfs://hunter2@account.dfs.core.windows.net/x", "AZURE_STORAGE_ACCOUNT_NAME"),
    "a signature": ("az://container/x?sig=hunter2", "credentials never stand in a URL"),
    "a fragment": ("s3://bucket/x#hunter2", "credentials never stand in a URL"),
    "no bucket": ("s3://", "it names no bucket"),
    "a host of a file": ("file://server/share", "it must be the absolute path"),
    "a way out": ("s3://bucket/../hunter2", "its path must be plain"),
    "an empty part": ("s3://bucket/a//b", "its path must be plain"),
    "half a line": ("s3://bucket/a\nb", "its path must be plain"),
    "too long": (f"s3://bucket/{'x' * 489}", "at most 500 characters"),
}
"""A URL, and a part of the message; no message may repeat a URL."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def write(home: Home, text: str) -> None:
    home.settings_file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("key", ["features_url", "snapshots_url"])
def test_a_url_of_an_object_store_or_a_folder_is_taken(home: Home, key: str) -> None:
    for given, taken in TAKEN.items():
        write(home, f"home: {{{key}: '{given}'}}")
        assert getattr(read_locations(home), key) == getattr(resolve_config(None, home, {}).home, key) == taken


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_url_is_refused_without_being_repeated(home: Home, case: str) -> None:
    url, message = REFUSED[case]
    home.settings_file.write_text(f"home:\n  features_url: {url!r}\n".replace("'", '"'), encoding="utf-8")
    for read in (lambda: read_locations(home), lambda: resolve_config(None, home, {})):
        with pytest.raises(SettingsError) as caught:
            read()
        assert kinds(caught.value) == [("home.features_url", "value_error")]
        assert message in str(caught.value)
        assert "hunter2" not in everything_printed(caught.value)


def test_a_home_without_the_keys_has_everything_itself_and_a_change_counts_at_once(home: Home) -> None:
    assert read_locations(home).features_url is None
    for text, expected in (
        ("min_labels: 5", None),
        ("home: {features_url: s3://a}", "s3://a"),
        ("home: {features_url: s3://bb}", "s3://bb"),
    ):
        write(home, text)
        os.utime(home.settings_file, ns=(1, 1))  # even if the file is written twice in one tick of the disk's clock
        assert read_locations(home).features_url == expected
    home.settings_file.unlink()
    assert read_locations(home).features_url is None


def test_an_unusable_settings_file_is_an_error_and_never_the_home_itself(home: Home) -> None:
    for text in ("home: [1", "home: 3", "home: {features_url: 3}"):
        write(home, text)
        with pytest.raises(SettingsError):
            read_locations(home)
    home.settings_file.unlink()
    home.settings_file.mkdir()
    with pytest.raises(SettingsError, match="not a regular file"):
        read_locations(home)


def test_another_file_or_the_shipped_one_may_not_say_it_and_names_the_file_that_may(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("home: {snapshots_url: s3://bucket/hunter2}", encoding="utf-8")
    for layer in (None, read_home_layer(home)):
        with pytest.raises(SettingsError, match=r"in the settings file of that home only, taskclf_dagster.yaml") as caught:
            load_retrain_config(own, layer=layer)
        assert (caught.value.path, kinds(caught.value)) == (own, [("home", "home_only")])
        assert "hunter2" not in str(caught.value)
    shipped = tmp_path / "shipped.yaml"
    text = DEFAULT_CONFIG_PATH.read_text(encoding="utf-8")
    shipped.write_text(text.replace("  features_url: null", "  features_url: s3://b"), encoding="utf-8")
    monkeypatch.setattr("taskclf_dagster.config.loading.DEFAULT_CONFIG_PATH", shipped)
    with pytest.raises(SettingsError, match="in the settings file of that home only"):
        load_retrain_config()


def test_a_file_with_every_key_as_shipped_does_not_hide_what_the_home_says(home: Home, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("home: {features_url: null, snapshots_url: null}", encoding="utf-8")
    write(home, "home: {features_url: s3://bucket/x}")
    assert resolve_config(str(own), home, {}).home.features_url == "s3://bucket/x"
    assert list_sources(str(own), home, {})["home.features_url"] == str(home.settings_file)


@pytest.mark.parametrize(
    "key", ["registry_url", "models_url", "labels_url", "home.registry_url", "home.models_url", "home.artifacts_url", "home.url"]
)
def test_what_must_stay_local_has_no_setting_and_the_message_says_why(home: Home, key: str) -> None:
    outer, _, inner = key.rpartition(".")
    write(home, f"{outer}: {{{inner}: 's3://bucket/hunter2'}}" if outer else f"{key}: s3://bucket/hunter2")
    with pytest.raises(SettingsError, match=r"needs locks, fsync and rename \(docs/adr/0013") as caught:
        resolve_config(None, home, {})
    assert kinds(caught.value) == [(key, "extra_forbidden")]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("enter", [make_absolute, require_absolute])
def test_a_home_that_is_a_url_is_refused_with_the_reason(enter: object) -> None:
    assert callable(enter)
    for url in ("s3://key:hunter2@bucket/home", "gs://bucket", "file:///srv/home"):
        with pytest.raises(PathError, match=r"needs locks, fsync and rename.*home\.features_url") as caught:
            enter(url, "TASKCLF_HOME")
        assert caught.value.kind == "url"
        assert "hunter2" not in str(caught.value)


def test_the_places_are_no_part_of_the_policy() -> None:
    elsewhere = retrain_config(home={"features_url": "s3://bucket/x", "snapshots_url": None})
    assert elsewhere.document["home"] == {"features_url": "s3://bucket/x", "snapshots_url": None}
    assert elsewhere.policy == retrain_config().policy
