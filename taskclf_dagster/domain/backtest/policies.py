"""The policies that a replay compares: a configuration, and the rule by which a challenger becomes the active model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskclf_dagster.config.overlay import read_overlay
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import find_shipped
from taskclf_dagster.errors import PolicyError

Rule = Literal["gates", "never", "always", "original"]
"""The rule of a policy: gates: all gates of the configuration. never: as gates for the first model, which then stays. always: every
challenger that predicts. original: the rule of taskclf's own retraining (`original_rule`)."""


BUILT_IN: dict[str, Rule] = {"present": "gates", "never": "never", "always": "always", "original": "original"}


_AS_REPLAYED = {"auto_promote": True, "prove_reproducible": False}
"""A person's approval is taken as given at once, and no challenger is trained a second time to prove that it can be."""


NO_LABELS_TRIGGER = 100_000
"""The largest min_new_labels: taskclf's own retraining is due by cadence alone."""


@dataclass(frozen=True)
class Policy:
    """One policy.

    Attributes:
        name: for people; unique in a replay.
        rule: see `Rule`.
        config: its configuration.
    """

    name: str
    rule: Rule
    config: RetrainConfig


def list_policies(config: RetrainConfig, files: list[Path] | None = None, names: list[str] | None = None) -> list[Policy]:
    """Returns the policies of a replay: the built-in ones that are named, then one for each file.

    Args:
        config: the present configuration, which the files override.
        files: YAML files with the keys that differ; the name of a policy is that of its file.
        names: of built-in policies; None for all of them.

    Raises:
        PolicyError: a name is unknown, or two policies have the same name.
        SettingsError: a file is missing or invalid.
    """
    chosen = list(BUILT_IN) if names is None else names
    unknown = [name for name in chosen if name not in BUILT_IN]
    if unknown:
        raise PolicyError(unknown[0], f"it is none of {', '.join(BUILT_IN)}. Correct the name, or give the file of a policy")
    policies = [_built_in(name, config) for name in chosen]
    policies += [Policy(path.stem, "gates", read_overlay(path, config).with_changes(**_AS_REPLAYED)) for path in files or []]
    found = [policy.name for policy in policies]
    for name in found:
        if found.count(name) > 1:
            raise PolicyError(name, "two policies of the replay have this name. Rename the file")
    return policies


def _built_in(name: str, config: RetrainConfig) -> Policy:
    if BUILT_IN[name] == "original":
        config = read_overlay(find_shipped("configs/original.yaml"), config).with_changes(min_new_labels=NO_LABELS_TRIGGER)
    return Policy(name, BUILT_IN[name], config.with_changes(**_AS_REPLAYED))
