"""The keys of signed promotions for a command."""

from pathlib import Path

from taskclf_dagster.config.loading import resolve_signing
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.storage.signatures import Keys
from taskclf_dagster.home import Home


def open_home_keys(home: Home, config: Path | None, *, signs: bool) -> Keys:
    """Returns the keys of the given configuration, else of the default one; a reader (`signs` is False) gets no private key.

    Raises:
        SigningKeyError: they cannot be used.
    """
    return open_keys(home, resolve_signing(None if config is None else str(config)), signs=signs)
