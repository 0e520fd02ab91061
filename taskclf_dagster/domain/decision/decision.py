"""The promotion decision: the verdict with every number it follows from and the hash of everything that was judged.

As a file it is the decision receipt. It changes nothing: whoever moves the active pointer calls `verify_decision` first, and compares the
hashes with the files.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator

from taskclf_dagster.config.recorded import complete_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.references import ChampionRef, DatasetRef, ModelRef, RegistryRef, RunOptions
from taskclf_dagster.domain.decision.trial import TrialEvidence
from taskclf_dagster.domain.decision.verdict import Verdict
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.storage.path_names import FileName
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.domain.storage.signatures import Keys, Signature
from taskclf_dagster.home import Home

RECEIPT_VERSION: Literal[2] = 2
"""The version of the receipt's format. Receipts before 0.2.0 had flat fields and no version; they are not read."""


def _to_policy(config: object) -> object:
    return config.policy if isinstance(config, RetrainConfig) else config


class DecisionContent(Record):
    """Everything that a decision says; `decision_hash` covers every field.

    Receipts outlive versions of this code: a field that is added later needs a default, and a field that has its default is left out of
    file and hash.

    Attributes:
        reason: of the verdict, in one or two sentences.
        comparison: both models on the windows that neither was trained on, with the counts from which verification computes it again.
        anchors: the challenger compared with each anchor model.
        rolled_back_as: id of the blocked model with the same trees; None if there is none.
        required_gates: names of the gates that had to be judged.
        policy: the keys of the configuration that shape a model or a decision.
        prediction_diff: the windows of the last days that both models predict differently; for display, nothing follows from it.
        protections: a summary of what protected this decision; for display.
        home: the folder of the home then; for display.
        home_id: the id of the home, to which the receipt is bound; None in receipts that are older than ids.
        training: the settings that the challenger was trained with, and how they were chosen; None in receipts that are older.
        recipe: what the trees of the challenger follow from besides rows, settings and seed; None in receipts that are older.
        trial: the trial by which the challenger was judged; None if the test windows of a retrain did.
        replaces: ids of the earlier decisions about the same challenger, which this one takes the place of.
    """

    receipt_version: Literal[2]
    verdict: Verdict
    reason: str
    as_of: AwareDatetime
    home: str
    demo: bool
    code_version: str
    options: RunOptions
    dataset: DatasetRef
    challenger: ModelRef
    champion: ChampionRef
    registry: RegistryRef
    comparison: Comparison | None
    anchors: list[AnchorComparison]
    rolled_back_as: str | None
    gates: list[RegressionGate]
    required_gates: list[str]
    policy: Annotated[dict[str, object], BeforeValidator(_to_policy)]
    prediction_diff: PredictionDiff | None
    protections: list[str]
    home_id: FileName | None = None
    training: ChosenSettings | None = None
    replaces: tuple[FileName, ...] = ()
    recipe: TrainingRecipe | None = None
    trial: TrialEvidence | None = None

    @property
    def settings(self) -> RetrainConfig:
        """The policy as a configuration; keys that did not exist yet have the shipped values."""
        return complete_config(self.policy)

    @property
    def outcome(self) -> str:
        """The verdict, marked if the run was a dry run."""
        return f"{self.verdict} (dry run)" if self.options.dry_run else self.verdict

    @property
    def moves_pointer(self) -> bool:
        """True if the challenger becomes the active model."""
        return self.verdict == "PROMOTE" and not self.options.dry_run

    def destination(self, home: Home) -> Path:
        """Returns the folder to which the challenger's bundle is moved after this decision."""
        if self.moves_pointer:
            return home.models / self.challenger.model_id
        waits = self.verdict in ("AWAITING_APPROVAL", "HOLD") and not self.options.dry_run
        return (home.pending_models if waits else home.rejected_models) / self.challenger.model_id


class PromotionDecision(DecisionContent):
    """One decision, sealed.

    Attributes:
        decision_id: made of the as-of time and the hash; the name of the receipt's file.
        decision_hash: SHA-256 over everything else.
        signature: over decision_hash, for this home; None if promotions are not signed.
    """

    decision_id: FileName
    decision_hash: str
    signature: Signature | None = None


def seal(content: DecisionContent) -> PromotionDecision:
    """Returns the decision with its hash and its id; a hash and an id that the content has already are replaced."""
    digest = content_hash(content)
    sealed = {"decision_id": make_decision_id(content.as_of, digest), "decision_hash": digest}
    return PromotionDecision.model_validate({**dict(content), **sealed})


def sign_decision(decision: PromotionDecision, keys: Keys) -> PromotionDecision:
    """Returns the decision with a signature; without a private key as it is."""
    signature = keys.sign("receipt", decision.home_id or "", decision.decision_hash)
    return decision if signature is None else decision.model_copy(update={"signature": signature})


def make_decision_id(as_of: datetime, digest: str) -> str:
    """Returns the id of a decision: its as-of time (UTC) and the first 8 hex digits of its hash."""
    return f"{as_of.astimezone(UTC):%Y-%m-%d_%H%M%S}_{digest[:8]}"


def content_hash(content: DecisionContent) -> str:
    """Returns SHA-256 over the canonical JSON of every field but id, hash and signature."""
    return json_hash(content.model_dump(mode="json", exclude={"decision_id", "decision_hash", "signature"}, exclude_defaults=True))
