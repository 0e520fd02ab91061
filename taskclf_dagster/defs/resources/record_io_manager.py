"""The I/O manager: records between assets as JSON in the home, one file for each run and the latest. Dagster concept: I/O managers.

Never pickle, never a frame: a record names its files by content hash.
"""

from typing import Any

import dagster as dg
from pydantic import ValidationError

from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.storage.files import read_json_object, write_json
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RecordNotFoundError, UnreadableFileError

LATEST = "latest"


class RecordIOManager(dg.ConfigurableIOManager):
    """Keeps each asset's record in `artifacts/records/<asset>/<run_id>.json`.

    An input comes from the same run if that run made it, else from the run it retries (parent, then root), else from the latest.
    """

    home: dg.ResourceDependency[HomeResource]

    def handle_output(self, context: dg.OutputContext, obj: Record) -> None:
        """Writes the record for this run and as the latest."""
        folder = self.home.open().records / context.asset_key.to_python_identifier()
        content = obj.model_dump(mode="json")
        for name in (context.run_id, LATEST):
            write_json(folder / f"{name}.json", content)

    def load_input(self, context: dg.InputContext) -> Record:
        """Reads the record that belongs to this run.

        Raises:
            RecordNotFoundError: the upstream asset was never materialized for this home.
            UnreadableFileError: the file is damaged or from another version.
        """
        asset = context.asset_key.to_python_identifier()
        folder = self.home.open().records / asset
        run = context.step_context.dagster_run
        runs = [run.run_id, run.parent_run_id, run.root_run_id, LATEST]
        path = next((folder / f"{name}.json" for name in runs if name and (folder / f"{name}.json").exists()), None)
        if path is None:
            raise RecordNotFoundError(asset, folder)
        kind: Any = context.dagster_type.typing_type
        try:
            return kind.model_validate(read_json_object(path))
        except ValidationError as error:
            raise UnreadableFileError(path, f"it is not a {kind.__name__} of this version", f"Materialize {asset} again") from error
