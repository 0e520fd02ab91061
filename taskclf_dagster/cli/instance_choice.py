"""Chooses the Dagster instance of a home.

With DAGSTER_HOME that is the instance. Without it, a home has its own in `.dagster`, unless it shares that of a checkout with `dagster dev`
there (docs/adr/0009-one-home-per-instance.md). Nothing depends on the working directory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskclf_dagster.cli.instance_files import SETTINGS
from taskclf_dagster.config.shipped import CHECKOUT
from taskclf_dagster.domain.storage.instance_owner import is_owned_by, read_owner
from taskclf_dagster.entry_paths import INSTANCE_VARIABLE, make_absolute
from taskclf_dagster.home import Home

CHECKOUT_INSTANCE = ".dagster"
"""The instance of a checkout, relative to its folder, as `dagster.yaml` there says."""


@dataclass(frozen=True)
class InstanceChoice:
    """The instance of a home.

    Attributes:
        folder: where it keeps its files.
        source: `environment` if DAGSTER_HOME names it; `home` if it is the home's own; `checkout` if `dagster dev` there uses it.
    """

    folder: Path
    source: Literal["environment", "home", "checkout"]


def choose_instance(home: Home, environ: Mapping[str, str] = os.environ, checkout: Path | None = CHECKOUT) -> InstanceChoice:
    """Returns the instance of a home: that of DAGSTER_HOME; else the home's own if it exists; else the checkout's if no other home has it.

    Raises:
        PathError: DAGSTER_HOME cannot be made absolute.
        UnreadableFileError: the record of the home of the checkout's instance is damaged.
    """
    if environ.get(INSTANCE_VARIABLE):
        return InstanceChoice(make_absolute(environ[INSTANCE_VARIABLE], INSTANCE_VARIABLE), "environment")
    own = InstanceChoice(home.instance, "home")
    if checkout is None or (home.instance / SETTINGS).is_file():
        return own
    shared = checkout / CHECKOUT_INSTANCE
    owner = read_owner(shared)
    return InstanceChoice(shared, "checkout") if owner is None or is_owned_by(shared, owner, home) else own
