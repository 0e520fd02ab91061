"""Why a bundle cannot be used, as a code; the text is for people."""

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import INCOMPATIBLE_CODES, BundleError, BundleErrorCode, BundleErrorKind


class BundleProblem(Record):
    """The first reason found why a bundle cannot be used.

    Attributes:
        code: which check failed.
        detail: what was found, without the kind.
    """

    code: BundleErrorCode
    detail: str

    @property
    def kind(self) -> BundleErrorKind:
        """Incompatible where the bundle is whole but of another schema or label set; invalid otherwise."""
        return "incompatible" if self.code in INCOMPATIBLE_CODES else "invalid"

    @property
    def reason(self) -> str:
        """Kind and detail, as index.json and reports show them."""
        return f"{self.kind}: {self.detail}"


def problem_of(error: BundleError) -> BundleProblem:
    """Returns the problem that an error is about."""
    return BundleProblem(code=error.code, detail=error.reason.removeprefix(f"{error.kind}: "))
