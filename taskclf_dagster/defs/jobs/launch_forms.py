"""The launch forms of jobs with partitions. Dagster concepts: run configuration, partitions.

A job of one home has a flat form, which Dagster maps to run configuration. It allows no such mapping for a job with partitions: there the
form is mapped before the launch, by `partition_forms.fill_form`, and the form's defaults are the configuration of every partition.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

Homes = dg.PartitionsDefinition[str] | None
"""The partitions of the jobs where a deployment serves many homes; None where it serves one."""


def choose_form(mapping: dg.ConfigMapping, homes: Homes) -> Any:
    """Returns what a job has for its configuration: its flat form, or with partitions the run configuration of the form's defaults."""
    if homes is None:
        return mapping
    return dg.PartitionedConfig(homes, run_config_for_partition_key_fn=lambda _: map_form(mapping, {}))


def map_form(mapping: dg.ConfigMapping, form: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the run configuration of a form, with only the parts that it sets.

    Raises:
        DagsterInvalidConfigError: a field is missing, unknown, or of another type.
    """
    return {name: part for name, part in mapping.resolve_from_unvalidated_config(dict(form)).items() if part}
