"""The bodies and parameters of requests. Names are camelCase on the wire; types are strict: "1" is no number, 1 is no boolean."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from taskclf_dagster.status.run_history import CURSOR_PATTERN

MAX_PAGE = 200


MAX_REASON = 500
"""Largest number of characters of a reason."""


_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


_VISIBLE = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"
"""One line with at least one visible character, as JSON Schema, pydantic and Python read it."""


PATTERN_WORDS = {_VISIBLE: "must be one line with a visible character", CURSOR_PATTERN: "must be the nextCursor of another page"}
"""Requirements of a text for a person, by the pattern that it does not match."""


_AS_OF_YEARS = "^(199[0-9]|[2-8][0-9]{3})-"


_AS_OF = re.compile(rf"{_AS_OF_YEARS}\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)


class Form(BaseModel):
    """The base of the bodies of requests: a name that is not known is refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", alias_generator=to_camel)


def _check_as_of(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _AS_OF.fullmatch(value) is None:
        msg = "it is not a date, or a time with an offset from UTC, from 1990 on, such as 2026-02-04 or 2026-02-04T06:00:00+01:00"
        raise ValueError(msg)
    datetime.fromisoformat(value.upper())
    return value.upper()


AsOf = Annotated[
    str,
    BeforeValidator(_check_as_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time", "pattern": _AS_OF_YEARS},
                {"type": "string", "format": "date", "pattern": _AS_OF_YEARS},
            ],
            "description": "End of the look-back: a date or a time, from 1990 on.",
        }
    ),
]


class TriggerForm(Form):
    """The options of a retrain."""

    force: bool = Field(False, description="Train although nothing is new since the last decided run.")
    dry_run: bool = Field(False, description="Decide, but move nothing.")
    as_of: AsOf | None = Field(None, description="End of the look-back. Default: now.", examples=["2026-02-04T06:00:00Z"])
    holdout_user_fraction: float = Field(0.0, ge=0, lt=1, description="Share of users kept out of training [0 to 1).")
    bootstrap: bool = Field(
        False, description="Let the absolute gates alone decide where there is a model in use that cannot be compared with."
    )


class ApproveForm(Form):
    """The decision to approve."""

    decision_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A decision that awaits approval. Default: the one that does.",
        examples=["2026-02-04_060000_1a2b3c4d"],
    )
    as_judged: bool = Field(False, description="Approve although today's configuration is stricter and would reject or hold it.")


class RollbackForm(Form):
    """The model to roll back to, and the reason."""

    to: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Id of a promoted model. Default: the last known good one before the present.",
        examples=["2026-01-28_060000_run-0003"],
    )
    reason: str = Field(
        min_length=1,
        max_length=MAX_REASON,
        pattern=_VISIBLE,
        description="Why, in one line; the history keeps it.",
        examples=["meetings are missed"],
    )


def _parse_whole(value: object) -> object:
    """Returns the number that a parameter of the query writes in plain digits."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value) else value


class HistoryQuery(BaseModel):
    """The page of the history to return."""

    model_config = ConfigDict(frozen=True, strict=True)

    limit: Annotated[int, BeforeValidator(_parse_whole)] = Field(20, ge=1, le=MAX_PAGE, description="Number of retrains on the page.")
    cursor: str | None = Field(
        None,
        pattern=CURSOR_PATTERN,
        description="`nextCursor` of the page before. Default: the newest.",
        examples=["1770184800000000.5f0c"],
    )
