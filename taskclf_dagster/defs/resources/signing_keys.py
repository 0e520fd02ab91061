"""Opens the keys of signed promotions: public keys of the settings, the private key of the environment or of a file outside the home.

What is signed, and what a missing signature means, belongs to `domain`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.domain.storage.path_names import is_within
from taskclf_dagster.domain.storage.signatures import Keys, load_keys
from taskclf_dagster.errors import SigningKeyError
from taskclf_dagster.home import Home


def open_keys(home: Home, settings: SigningSettings, *, signs: bool, environ: Mapping[str, str] = os.environ) -> Keys:
    """Returns the keys of the settings.

    Args:
        home: the taskclf home, in which the private key must not be.
        settings: where the keys are.
        signs: False for a reader, which needs no private key.
        environ: the environment.

    Raises:
        SigningKeyError: the private key is missing, in the home, no key, or that of no trusted public key.
    """
    private, origin = (None, "") if not signs else _read_private_key(home, settings, environ)
    return load_keys(settings.public_key, private, origin=origin)


def _read_private_key(home: Home, settings: SigningSettings, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if settings.private_key_env is not None:
        text = environ.get(settings.private_key_env, "").replace("\\n", "\n")  # environment files often hold no line breaks
        if not text.strip():
            problem = f"the environment variable {settings.private_key_env}, which signing.private_key_env names, is not set"
            raise SigningKeyError("missing", problem, "Set it to the private key in PEM for every process that changes the registry")
        return text, settings.private_key_env
    if settings.private_key_file is None:
        return None, ""
    path = Path(settings.private_key_file).expanduser()
    if is_within(path, home.root):
        fix = "Move it outside: whoever can read the home could sign with it"
        raise SigningKeyError("inside_home", f"signing.private_key_file {path} is in the home {home.root}", fix)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        fix = "Make it with `openssl genpkey -algorithm ed25519`, readable by the account that retrains"
        raise SigningKeyError("missing", f"signing.private_key_file {path} cannot be read: {reason}", fix) from None
