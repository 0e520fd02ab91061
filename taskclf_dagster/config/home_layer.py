"""The settings file of a home, `taskclf_dagster.yaml`: how it is read, and what it may not set.

It is a layer between `configs/retrain.yaml` and the file of `--config`. Whoever can write to the home can write it, so it sets nothing that
protects against them: no keys of signatures, no addresses that events are sent to, nothing about who may reach the server, no scheduler
that could have anything computed; and where promotions are signed, nothing that shapes a decision. It is changed in
`domain.scheduling.home_settings`.
"""

import hashlib
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from taskclf_dagster.config.settings import OPERATIONAL, RetrainConfig
from taskclf_dagster.config.yaml_files import MAX_BYTES, flatten, parse_mapping
from taskclf_dagster.errors import InvalidSetting, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of

PROTECTED = ("events", "execution", "server", "signing")
"""Keys that this file may not set."""


INSTEAD = "the file that --config or TASKCLF_DAGSTER_CONFIG names"


@dataclass(frozen=True)
class HomeLayer:
    """The settings file of a home as found in one read.

    Attributes:
        path: the file.
        content: its bytes; empty if it does not exist.
        document: its keys, nested; empty if it does not exist.
    """

    path: Path
    content: bytes = field(repr=False)
    document: dict[str, object]

    @property
    def etag(self) -> str:
        """Hash of the bytes, in hex; a file that does not exist has that of an empty one."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def values(self) -> dict[str, object]:
        """The values by key, inner keys with dots."""
        return dict(flatten(self.document))


def read_home_layer(home: Home) -> HomeLayer:
    """Reads the settings file of a home; one that does not exist sets nothing.

    Raises:
        SettingsError: it cannot be read, is not a YAML mapping, or sets a key of PROTECTED.
    """
    return parse_home_layer(home, _read_bytes(home.settings_file))


def parse_home_layer(home: Home, content: bytes) -> HomeLayer:
    """Parses the bytes of the settings file of a home.

    Raises:
        SettingsError: they are no YAML mapping, or set a key of PROTECTED; the message repeats no value.
    """
    path = home.settings_file
    layer = HomeLayer(path, content, parse_mapping(path, content))
    _refuse(path, (key for key in layer.document if key in PROTECTED), "protected", "may not be set in the settings file of a home")
    return layer


def require_unsigned(layer: HomeLayer, config: RetrainConfig) -> None:
    """Checks that the file sets nothing that shapes a decision where promotions are signed: the file itself is not.

    Raises:
        SettingsError: it does.
    """
    if config.signing.public_key:
        keys = (key for key in layer.values if key.partition(".")[0] not in OPERATIONAL)
        rule = "shapes what is promoted, and may not be set in the settings file of a home whose promotions are signed (signing.public_key)"
        _refuse(layer.path, keys, "signed", rule)


def _refuse(path: Path, keys: Iterable[str], kind: str, rule: str) -> None:
    invalid = [InvalidSetting(key, kind, f"{rule}: whoever can write to the home could; set it in {INSTEAD}") for key in keys]
    if invalid:
        raise SettingsError(path, invalid)


def _read_bytes(path: Path) -> bytes:
    """Reads a file that anyone who can write to the home may have put there."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unreadable(path, "it is not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise _unreadable(path, reason_of(error)) from error


def _unreadable(path: Path, reason: str) -> SettingsError:
    fix = "Restore it, or remove it: without it the home has no settings of its own"
    return SettingsError(path, [InvalidSetting("", "file", reason)], fix=fix)
