"""The problem of a bundle: a code for programs, a text for people."""

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import INCOMPATIBLE_CODES, BundleError, BundleErrorCode, BundleErrorKind


class BundleProblem(Record):
    """The first problem found in a bundle.

    Attributes:
        code: the check that failed.
        detail: a description, without the kind.
    """

    code: BundleErrorCode
    detail: str

    @property
    def kind(self) -> BundleErrorKind:
        """`incompatible` if the bundle is complete but of another schema or label set, else `invalid`."""
        return "incompatible" if self.code in INCOMPATIBLE_CODES else "invalid"

    @property
    def reason(self) -> str:
        """Kind and detail, as index.json and reports show them."""
        return f"{self.kind}: {self.detail}"


def problem_of(error: BundleError) -> BundleProblem:
    """Returns the problem that an error is about."""
    return BundleProblem(code=error.code, detail=error.reason.removeprefix(f"{error.kind}: "))
