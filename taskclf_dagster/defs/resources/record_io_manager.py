"""The I/O manager: stores the records that assets hand to each other as JSON in the home. Dagster concept: I/O managers.

Change here where records are stored and which run's record an asset reads. No frame and no model passes here: a record names its files by
content.
"""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr, ValidationError

from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.defs.runs.run_tags import JUDGED_RUN_TAG
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import receipt_path
from taskclf_dagster.domain.storage.files import write_json, write_second_name
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.numbered_files import name_without_number, next_numbered, sort_numbered
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RecordNotFoundError, UnreadableFileError
from taskclf_dagster.home import Home

LATEST = "latest"


class RecordIOManager(dg.ConfigurableIOManager):
    """Stores the record of each asset in `artifacts/records/<asset>/<number>-<run_id>.json`; the newest has the highest number.

    An input is the record of the same run, else that of the run that this one retries (parent, then root) or whose challenger it judges
    again, else the latest. It is read at most once a run: what this run made, or has read, is handed on from memory, so that all steps of
    a run have the same record.
    """

    home: dg.ResourceDependency[HomeResource]
    _records: dict[tuple[str, str], Record] = PrivateAttr(default_factory=dict)

    def handle_output(self, context: dg.OutputContext, obj: Record) -> None:
        """Writes the record of this run, and names it as the latest; the record of a decision is its receipt, under a second name."""
        asset, taskclf_home = context.asset_key.to_python_identifier(), self.home.open()
        folder = taskclf_home.records / asset
        stored = _list_records(folder)
        path = stored.get(context.run_id) or next_numbered(folder, f"{context.run_id}.json", stored.values())
        receipt = receipt_path(taskclf_home, obj.decision_id) if isinstance(obj, PromotionDecision) else None
        if receipt is not None and receipt.exists():
            write_second_name(path, receipt)
        else:
            write_json(path, obj.model_dump(mode="json"))
        write_second_name(folder / f"{LATEST}.json", path)
        self._records[context.run_id, asset] = obj

    def load_input(self, context: dg.InputContext) -> Record:
        """Returns the record that belongs to this run.

        Raises:
            RecordNotFoundError: the upstream asset was never materialized for this home.
            UnreadableFileError: the file is damaged or of another version.
        """
        asset, run = context.asset_key.to_python_identifier(), context.step_context.dagster_run
        if (run.run_id, asset) not in self._records:
            self._records[run.run_id, asset] = self._read(asset, run, kind=context.dagster_type.typing_type)
        return self._records[run.run_id, asset]

    def _read(self, asset: str, run: dg.DagsterRun, *, kind: Any) -> Record:
        folder = self.home.open().records / asset
        stored = _list_records(folder)
        runs = run.run_id, run.parent_run_id, run.root_run_id, run.tags.get(JUDGED_RUN_TAG), LATEST
        path = next((stored[name] for name in runs if name in stored), None)
        if path is None:
            raise RecordNotFoundError(asset, folder)
        try:
            record: Record = kind.model_validate(read_json_object(path))
        except ValidationError as error:
            raise UnreadableFileError(path, f"it is not a {kind.__name__} of this version", f"Materialize {asset} again") from error
        return record


def find_last_run(home: Home, asset: str) -> str | None:
    """Returns the id of the last run that made a record of an asset; None if there is none."""
    runs = [run_id for run_id in _list_records(home.records / asset) if run_id != LATEST]
    return runs[-1] if runs else None


def _list_records(folder: Path) -> dict[str, Path]:
    """Returns the records of an asset by run id, the oldest first, and the latest by `LATEST`."""
    return {Path(name_without_number(path)).stem: path for path in sort_numbered(folder.glob("*.json")) if not path.name.startswith(".")}
