"""The settings of shadow trials and of the probation after a promotion, with bounds on every field."""

from typing import Annotated

from pydantic import Field

from taskclf_dagster.config.setting_types import Settings


class TrialSettings(Settings):
    """Trials of challengers that could not be decided on the test windows.

    Attributes:
        max_contenders: number of trials at a time, the newest challengers; 0 for none.
        days: length of a trial.
        label_delay_days: days after the end of a UTC day until its labels count; later ones do not.
        awaiting_approval: True to try challengers that await approval as well.
        challenger_share: share of the user-days of batch scores that the newest contender serves [0 to 0.5]; 0 for none.
    """

    max_contenders: Annotated[int, Field(ge=0, le=10)]
    days: Annotated[int, Field(ge=1, le=90)]
    label_delay_days: Annotated[int, Field(ge=0, le=14)]
    awaiting_approval: bool
    challenger_share: Annotated[float, Field(ge=0, le=0.5)]


class ProbationSettings(Settings):
    """The days after a promotion in which the model before it is compared with the new one.

    Attributes:
        probation_days: their number; 0 for none.
        auto_rollback: True to go back to the model before by itself if harm is found; False for an alert alone.
    """

    probation_days: Annotated[int, Field(ge=0, le=90)]
    auto_rollback: bool
