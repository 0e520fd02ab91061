"""Reports pointer changes that no run reported on the asset `active_pointer`: those of the command line, and of taskclf itself.

Reads the home and the instance, and reports one materialization without a run if they differ; the home is never changed. Dagster
concept: runless materializations.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.dagster_internals import select_partition
from taskclf_dagster.defs.display.pointer_changes import ASSET, describe_pointer, report_registry_checks
from taskclf_dagster.defs.runs.instance_home import find_home_partition
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, home_tag
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import ActivePointer, read_pointer_file
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import show_line

FOREIGN = "another program moved the pointer"


UNKNOWN = "the history has no reason"


_PAGE = 20


def report_pointer(home: Home, instance: dg.DagsterInstance) -> str | None:
    """Reports the active pointer if it differs from the asset's latest materialization for this home.

    One report covers any number of changes. Nothing is reported for a home without a pointer, for one that cannot be read or leaves the
    home, nor for a change whose run has not ended, because that run reports it itself.

    Returns:
        A message about the report; None if there was nothing to report.
    """
    pointer = _read_pointer(home)
    partition = find_home_partition(instance, home)
    if pointer is None or _is_shown(pointer, _find_shown(home, instance, partition)):
        return None
    move = read_history(home).last_move
    is_explained = move is not None and move.new is not None and move.new.model_dir == pointer.model_dir
    if move is None or not is_explained:
        reason = UNKNOWN
    elif _is_under_way(move.run_id, instance):
        return None
    else:
        reason = show_line(move.reason or FOREIGN)
    metadata = describe_pointer(home, pointer, reason)
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, description=reason, metadata=metadata, partition=partition))
    report_registry_checks(home, instance)
    return f"active_pointer now shows {pointer.name}: {reason}"


def _read_pointer(home: Home) -> ActivePointer | None:
    pointer = read_pointer_file(home).pointer
    try:
        return pointer if pointer is not None and resolve_model_dir(home, pointer.model_dir) else None
    except BundleError:
        return None


def _is_shown(pointer: ActivePointer, shown: dict[str, object]) -> bool:
    """Returns True if a materialization is of this pointer."""
    return (shown.get("model_id"), shown.get("record")) == (pointer.name, pointer.sequence or 0)


def _find_shown(home: Home, instance: dg.DagsterInstance, partition: str | None) -> dict[str, object]:
    """Returns the metadata of the latest materialization for a home; empty if there is none."""
    return next((metadata for metadata, run_id in _iterate_shown(instance, partition) if _is_about(home, metadata, run_id, instance)), {})


def _iterate_shown(instance: dg.DagsterInstance, partition: str | None) -> Iterator[tuple[dict[str, object], str]]:
    """Yields metadata and run of every materialization, of one partition if there are any, the latest first."""
    cursor = None
    while True:
        page = instance.fetch_materializations(select_partition(ASSET, partition), limit=_PAGE, cursor=cursor)
        for record in page.records:
            made = record.asset_materialization
            if made is not None:
                yield {name: value.value for name, value in made.metadata.items()}, record.run_id
        if not page.has_more:
            return
        cursor = page.cursor


def _is_about(home: Home, metadata: dict[str, object], run_id: str, instance: dg.DagsterInstance) -> bool:
    """Returns True if a materialization or its run names this home; if neither names one, it counts for every home."""
    if "home" in metadata:
        return metadata["home"] == home.display_name
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is None or run.tags.get(HOME_TAG, home_tag(home)) == home_tag(home)


def _is_under_way(run_id: str | None, instance: dg.DagsterInstance) -> bool:
    run = None if run_id is None else instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished
