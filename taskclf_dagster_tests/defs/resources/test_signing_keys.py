"""The keys of signed promotions: each wrong place or key is refused by its kind, and no message repeats a key."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.errors import SettingsError, SigningKeyError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.config.yaml_documents import kinds, load_error, write
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.signing import OWNER, STRANGER

PRIVATE, PUBLIC = OWNER


def settings(**changes: object) -> SigningSettings:
    return SigningSettings.model_validate({"private_key_env": None, "private_key_file": None, "public_key": None, **changes})


def test_a_key_is_read_from_the_variable_or_the_file_only_by_whoever_signs(tmp_path: Path) -> None:
    home, file = make_home(tmp_path / "home"), tmp_path / "key.pem"
    file.write_text(PRIVATE, encoding="utf-8")
    in_variable = settings(private_key_env="KEY", public_key=PUBLIC)
    opened = [
        open_keys(home, settings(private_key_file=str(file), public_key=[PUBLIC]), signs=True),
        open_keys(home, in_variable, signs=True, environ={"KEY": PRIVATE}),
        open_keys(home, in_variable, signs=True, environ={"KEY": PRIVATE.replace("\n", "\\n")}),
    ]
    for keys in opened:
        signature = keys.sign("receipt", "home", "digest")
        assert keys.find_problem(signature, "receipt", "home", "digest") is None
        assert {
            keys.find_problem(signature, "history record", "home", "digest"),
            keys.find_problem(signature, "receipt", "another", "digest"),
            keys.find_problem(signature, "receipt", "home", "another"),
        } == {"altered"}
        assert "private" not in repr(keys)
    assert open_keys(home, in_variable, signs=False, environ={}).private is None
    assert not open_keys(home, settings(), signs=True, environ={}).required


def _in_home(home: Home) -> Path:
    path = home.root / "key.pem"
    path.write_text(PRIVATE, encoding="utf-8")
    return path


def _linked_into_home(home: Home) -> Path:
    link = home.root.parent / "link.pem"
    link.symlink_to(_in_home(home))
    return link


def _of_another_kind(home: Home) -> Path:
    path = home.root.parent / "ed448.pem"
    path.write_bytes(Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def _cut(home: Home) -> Path:
    path = home.root.parent / "cut.pem"
    path.write_text(PRIVATE[:70], encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("inside_home", _in_home),
        ("inside_home", _linked_into_home),
        ("not_a_key", _of_another_kind),
        ("not_a_key", _cut),
        ("missing", lambda home: home.root.parent / "none.pem"),
        ("missing", lambda home: home.root.parent),
    ],
    ids=["in the home", "a link into the home", "of another kind", "cut", "no file", "a folder"],
)
def test_a_private_key_file_that_cannot_be_used_is_named(tmp_path: Path, kind: str, make: Callable[[Home], Path]) -> None:
    home = make_home(tmp_path / "home")
    path = make(home)
    with pytest.raises(SigningKeyError) as refused:
        open_keys(home, settings(private_key_file=str(path)), signs=True)
    assert refused.value.kind == kind
    assert str(path) in str(refused.value)
    assert PRIVATE.splitlines()[1] not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "environ"), [("missing", {}), ("missing", {"SIGNING_KEY": " "}), ("untrusted", {"SIGNING_KEY": STRANGER[0]})]
)
def test_a_variable_without_the_key_is_named(tmp_path: Path, kind: str, environ: dict[str, str]) -> None:
    with pytest.raises(SigningKeyError, match="SIGNING_KEY") as refused:
        open_keys(make_home(tmp_path), settings(private_key_env="SIGNING_KEY", public_key=PUBLIC), signs=True, environ=environ)
    assert refused.value.kind == kind


@pytest.mark.parametrize("key", ["private_key_env", "private_key_file", "public_key"])
def test_a_private_key_in_the_configuration_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    error = load_error(write(tmp_path, f"signing.{key}", PRIVATE))
    assert [found for found, _ in kinds(error)] == ([f"signing.{key}.0"] if key == "public_key" else [f"signing.{key}"])
    assert PRIVATE.splitlines()[1] not in str(error)


def test_two_private_keys_are_refused_and_no_key_is_part_of_the_policy(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        settings(private_key_env="KEY", private_key_file="/key.pem")
    changed = load_retrain_config(write(tmp_path, "signing.public_key", PUBLIC))
    assert changed.signing.public_key == [PUBLIC]
    assert changed.policy == load_retrain_config().policy
    with pytest.raises(SettingsError):
        load_retrain_config(write(tmp_path, "signing.private_key_file", "key.pem"))  # relative to what?
