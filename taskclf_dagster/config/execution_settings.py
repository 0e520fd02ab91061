"""The settings of the engine that computes parts of a dataset and trains models; the values are in `configs/retrain.yaml`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from taskclf_dagster.config.setting_types import Settings


class ExecutionSettings(Settings):
    """The engine, and where its scheduler listens; each key is explained in the file."""

    engine: Literal["local", "dask"]
    scheduler_address: Annotated[str, Field(pattern=r"^(tcp|tls)://[^/\s]+:[0-9]{1,5}$")] | None

    @model_validator(mode="after")
    def _dask_has_a_scheduler(self) -> "ExecutionSettings":
        if self.engine == "dask" and self.scheduler_address is None:
            msg = "engine dask needs scheduler_address, such as tcp://scheduler:8786"
            raise ValueError(msg)
        return self
