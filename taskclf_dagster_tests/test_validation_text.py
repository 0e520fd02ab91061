"""What pydantic finds wrong is said in plain sentences that never repeat the value."""

from datetime import datetime
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from taskclf_dagster.validation_text import describe_validation_error


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(1, ge=1, le=9)
    share: Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)] = 0.1
    kind: Literal["a", "b"] = "a"
    name: str = Field("x", min_length=1, pattern="^[a-z]*$")
    at: datetime | None = None
    on: bool = False
    odd: int = 1

    @field_validator("odd")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            msg = "an odd number is needed"
            raise ValueError(msg)
        return value


class Outer(BaseModel):
    inner: Inner
    rows: list[int] = Field([1], max_length=2)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "inner is missing"),
        ({"inner": 5}, "inner must be a mapping of keys to values"),
        ({"inner": {"count": 0}}, "inner.count must be at least 1"),
        ({"inner": {"count": 10}}, "inner.count must be at most 9"),
        ({"inner": {"count": "secret"}}, "inner.count must be a whole number"),
        ({"inner": {"share": 0.0}}, "inner.share must be greater than 0"),
        ({"inner": {"share": 0.5}}, "inner.share must be less than 0.5"),
        ({"inner": {"share": float("nan")}}, "inner.share must be a finite number"),
        ({"inner": {"kind": "secret"}}, "inner.kind must be 'a' or 'b'"),
        ({"inner": {"name": ""}}, "inner.name must have 1 characters or more"),
        ({"inner": {"name": "SECRET"}}, "inner.name must match ^[a-z]*$"),
        ({"inner": {"at": "secret"}}, "inner.at must be an ISO date and time"),
        ({"inner": {"on": "secret"}}, "inner.on must be true or false"),
        ({"inner": {"odd": 2}}, "inner.odd is not valid: an odd number is needed"),
        ({"inner": {"secret": 1}}, "inner.secret is not known"),
        ({"inner": {}, "rows": [1, 2, 3]}, "rows must have 2 entries or fewer"),
        ([], "it must be a mapping of keys to values"),
    ],
)
def test_the_first_error_names_the_field_and_what_it_must_be(document: object, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    assert describe_validation_error(caught.value) == expected
