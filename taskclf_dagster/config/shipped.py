"""The files that come with the package: the settings in `configs/`, and the settings of a Dagster instance.

In a checkout they are in its folder, and edited there. A wheel holds copies of the same files below `taskclf_dagster/shipped/`, which the
build puts there (`[tool.hatch.build.targets.wheel.force-include]` in pyproject.toml).
"""

from functools import cache
from pathlib import Path

from taskclf_dagster.config.yaml_files import read_mapping

_PACKAGE = Path(__file__).resolve().parents[1]


_SHIPPED = _PACKAGE / "shipped"


CHECKOUT: Path | None = None if _SHIPPED.is_dir() else _PACKAGE.parent
"""The folder of the checkout that this package is part of; None if it is installed from a wheel."""


def find_shipped(name: str) -> Path:
    """Returns the path of a file that comes with the package, such as `configs/retrain.yaml` or `dagster.yaml`."""
    return (CHECKOUT or _SHIPPED) / name


DEFAULT_CONFIG_PATH = find_shipped("configs/retrain.yaml")


@cache
def read_shipped_config() -> dict[str, object]:
    """Returns the content of the default configuration, read once."""
    return read_mapping(DEFAULT_CONFIG_PATH)
