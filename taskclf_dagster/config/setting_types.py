"""The types that settings share: a frozen group of keys, and numbers with bounds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


Penalty = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


Days = Annotated[int, Field(ge=1, le=3650)]


class Settings(BaseModel):
    """A group of settings, which refuses unknown keys and other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
