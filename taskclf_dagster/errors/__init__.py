"""Every error this package raises on purpose: one base class, one subclass for each failure.

An error means that no decision could be made. A rejected model or a broken data contract is a result, not an error, and is
reported by checks. Each message names the thing, the value, the bound and the fix.

Each module has the errors of one area; every other module imports them from here.
May import: nothing of this package.
"""

from taskclf_dagster.errors.base import TaskclfDagsterError
from taskclf_dagster.errors.bundles import INCOMPATIBLE_CODES, BundleError, BundleErrorCode, BundleErrorKind
from taskclf_dagster.errors.data import (
    DataContractError,
    LabelColumnsError,
    NoWindowsError,
    RecordNotFoundError,
    RecordsDoNotMatchError,
    SnapshotError,
    UnreadableFileError,
    UnsafeUserIdError,
)
from taskclf_dagster.errors.decisions import (
    DecisionFinding,
    DecisionFindingKind,
    DecisionNotFoundError,
    DecisionNotVerifiedError,
    DrillError,
    ProbationError,
    ReceiptNotTrustedError,
    ReceiptVersionError,
    TrialError,
)
from taskclf_dagster.errors.home import HomeNotFoundError, InstanceError, InstanceErrorKind, PathError
from taskclf_dagster.errors.interfaces import (
    ApiError,
    EventRefusedError,
    InvalidField,
    LaunchRefusedError,
    NobodyNotifiedError,
    RequestProblem,
    RequestRefusedError,
    ServeError,
    ServeErrorKind,
    SinkFailure,
    SinkSettingsError,
    SinkUnavailableError,
)
from taskclf_dagster.errors.registry import (
    LockFileError,
    NoActiveModelError,
    RefusalKind,
    RegistryBusyError,
    RegistryNotSignedError,
    RegistryRefusedError,
    RetrainBusyError,
    RunEndedError,
    UnsafeFileSystemError,
)
from taskclf_dagster.errors.settings import AsOfError, InvalidSetting, SettingsError, SigningKeyError, StaleSettingsError

__all__ = [
    "INCOMPATIBLE_CODES",
    "ApiError",
    "AsOfError",
    "BundleError",
    "BundleErrorCode",
    "BundleErrorKind",
    "DataContractError",
    "DecisionFinding",
    "DecisionFindingKind",
    "DecisionNotFoundError",
    "DecisionNotVerifiedError",
    "DrillError",
    "EventRefusedError",
    "HomeNotFoundError",
    "InstanceError",
    "InstanceErrorKind",
    "InvalidField",
    "InvalidSetting",
    "LabelColumnsError",
    "LaunchRefusedError",
    "LockFileError",
    "NoActiveModelError",
    "NoWindowsError",
    "NobodyNotifiedError",
    "PathError",
    "ProbationError",
    "ReceiptNotTrustedError",
    "ReceiptVersionError",
    "RecordNotFoundError",
    "RecordsDoNotMatchError",
    "RefusalKind",
    "RegistryBusyError",
    "RegistryNotSignedError",
    "RegistryRefusedError",
    "RequestProblem",
    "RequestRefusedError",
    "RetrainBusyError",
    "RunEndedError",
    "ServeError",
    "ServeErrorKind",
    "SettingsError",
    "SigningKeyError",
    "SinkFailure",
    "SinkSettingsError",
    "SinkUnavailableError",
    "SnapshotError",
    "StaleSettingsError",
    "TaskclfDagsterError",
    "TrialError",
    "UnreadableFileError",
    "UnsafeFileSystemError",
    "UnsafeUserIdError",
]
