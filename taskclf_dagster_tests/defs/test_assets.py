"""The seven assets as a person sees them: what each shows, its data version, and what happens when nothing is new."""

import base64
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import load_decision
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.suggestion_store import load_suggestions
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.models.bundle_files import MODEL_CARD
from taskclf_dagster.domain.reporting.report_file import make_report
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, OLD, contents, home_with_champion
from taskclf_dagster_tests.scenario import AS_OF, DAY, day_file, learnable_home, span, weak, windows_frame, write_labels, write_windows

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)

ASSETS = [
    "labeled_windows",
    "dataset_snapshot",
    "challenger_model",
    "challenger_report",
    "champion_report",
    "promotion_decision",
    "active_pointer",
]
NOON = AS_OF + timedelta(hours=12)
IMAGE = re.compile(r"^!\[[^\]]+\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)$")
LABELLED = 2 * 6 * 160
QUICK = "search: off\nmin_class_windows: 20\ntrain_params: {num_boost_round: 5}\n"
DIFFERS_BETWEEN_EQUAL_RUNS = {
    "labeled_windows": ("path",),
    "dataset_snapshot": ("parts",),
    "challenger_model": ("timings", "files"),
    "challenger_report": ("files",),
}
"""Fields of each record that its hash leaves out."""


@dataclass(frozen=True)
class Run:
    """A finished run of the job on a home, with everything it showed."""

    home: Home
    result: dg.ExecuteInProcessResult
    tags: Mapping[str, str]

    @property
    def made(self) -> dict[str, dg.AssetMaterialization]:
        return {event.asset_key.to_user_string(): event.materialization for event in self.result.get_asset_materialization_events()}

    def shown(self, asset: str) -> dict[str, object]:
        return {name: value.value for name, value in self.made[asset].metadata.items()}

    def table(self, asset: str, name: str) -> list[dict[str, object]]:
        value = self.made[asset].metadata[name]
        assert isinstance(value, dg.TableMetadataValue)
        return [dict(record.data) for record in value.records]

    def record(self, asset: str) -> dict[str, object]:
        return json.loads((self.home.records / asset / "latest.json").read_text(encoding="utf-8"))


def _run(home: Home, config: Path, **params: object) -> Run:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=NOON.isoformat()))
    with dg.DagsterInstance.ephemeral() as instance:
        form = {"as_of": AS_OF.isoformat(), "config_path": str(config), **params}
        result = definitions.resolve_job_def("retrain").execute_in_process(run_config=form, instance=instance)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        return Run(home, result, dict(run.tags))


def _odd_home(folder: Path) -> Home:
    """A champion, two users and six days; and one of everything that is counted: raw column, repeated window, weak label, idle user."""
    home = learnable_home(folder, days=6)
    day = (AS_OF - 6 * DAY).date()
    table = pq.read_table(day_file(home, day))
    table = pa.concat_tables([table, table.slice(0, 3)])
    pq.write_table(table.append_column("raw_window_title", pa.array(["secret"] * len(table))), day_file(home, day))
    begin = AS_OF - 6 * DAY + timedelta(hours=20)
    write_windows(home, windows_frame(user="user-0", start=AS_OF - 7 * DAY + timedelta(hours=20), n=30, session="evening"))
    spans = [
        *pq.read_table(home.labels).to_pylist(),
        weak(begin - DAY, begin - DAY + timedelta(minutes=20), "Build", user="user-0"),
        span(begin, begin + timedelta(minutes=5), "Build", user="nobody"),
    ]
    write_labels(home, spans)
    return home_with_champion(home)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "fast.yaml"
    small = "min_class_windows: 20\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\n"
    path.write_text(f"auto_promote: true\n{small}search_budget: 0.0\ntrain_params: {{num_boost_round: 20}}\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two runs on the same home: the second on a fresh copy of it in the same place."""
    folder = tmp_path_factory.mktemp("assets")
    original, place = _odd_home(folder / "original"), folder / "home"
    found = []
    for number in range(2):
        shutil.copytree(original.root, place)
        run = _run(Home(place), config)
        kept = place.rename(folder / f"run-{number}")
        found.append(Run(Home(kept), run.result, run.tags))
    return found[0], found[1]


@pytest.fixture(scope="module")
def run(runs: tuple[Run, Run]) -> Run:
    return runs[0]


@pytest.fixture(scope="module")
def again(run: Run, config: Path) -> Run:
    """The same home a second time, when everything in it has been decided on."""
    return _run(run.home, config)


def _pictures(shown: Mapping[str, object]) -> dict[str, bytes]:
    found = {name: IMAGE.match(value) for name, value in shown.items() if isinstance(value, str)}
    return {name: base64.b64decode(match[1]) for name, match in found.items() if match}


# --- What each shows --------------------------------------------------------------------------------------------------------------


def test_every_asset_is_materialized_once_by_a_run_that_promotes(run: Run) -> None:
    assert run.result.success
    assert sorted(event.asset_key.to_user_string() for event in run.result.get_asset_materialization_events()) == sorted(ASSETS)
    assert run.tags["taskclf/outcome"] == "PROMOTE"
    assert run.tags[".dagster/taskclf_model"] == run.record("challenger_model")["model_id"]


@pytest.mark.parametrize("asset", ASSETS)
def test_every_asset_names_the_home_that_it_is_about(run: Run, asset: str) -> None:
    assert str(run.shown(asset)["home"]).endswith("/home")


def test_labeled_windows_shows_what_was_read_and_what_was_left_out(run: Run) -> None:
    shown = run.shown("labeled_windows")
    assert shown["dagster/row_count"] == LABELLED + 20
    assert (shown["windows_read"], shown["gold_windows"], shown["weak_windows"]) == (LABELLED + 30, LABELLED, 20)
    assert (shown["days"], shown["users"], shown["schema_version"]) == (7, 2, "v1")
    assert (shown["duplicates_dropped"], shown["raw_columns_dropped"]) == (3, 1)
    assert (shown["unreadable_days"], shown["days_of_other_versions"]) == ("none", 0)
    assert shown["as_of"] == AS_OF.timestamp()


def test_labeled_windows_shows_labels_reasons_and_provenance_as_tables(run: Run) -> None:
    rows = {row["label"]: row for row in run.table("labeled_windows", "class_distribution")}
    assert list(rows) == list(LABELS)
    assert rows["Build"] == {"label": "Build", "gold": LABELLED // 8, "weak": 20, "all": LABELLED // 8 + 20}
    assert sum(row["windows"] for row in run.table("labeled_windows", "unlabeled")) == 10
    provenance = {row["provenance"]: row["spans"] for row in run.table("labeled_windows", "spans_by_provenance")}
    assert provenance == {"manual": 2 * 6 * 16 + 1, "weak:app_id:com.apple.Notes": 1}
    fates = {row["fate"]: row["spans"] for row in run.table("labeled_windows", "spans_by_fate") if row["spans"]}
    assert fates == {"labels_windows": 2 * 6 * 16 + 1, "no_window_of_user": 1}
    shown = run.shown("labeled_windows")
    assert "'nobody' (1 span)" in str(shown["label_spans"])
    assert shown["passed_over"] == "none"


def test_the_columns_of_the_frame_are_described(run: Run) -> None:
    schema = run.made["labeled_windows"].metadata["dagster/column_schema"].value
    names = {column.name for column in schema.columns}
    assert names >= {*SCHEMAS["v1"].model_inputs, "label", "gold", "user_id", "bucket_start_ts"}
    assert not any(name.startswith("raw_") for name in names)


def test_dataset_snapshot_shows_its_hash_its_splits_and_its_cuts(run: Run) -> None:
    shown = run.shown("dataset_snapshot")
    splits = [shown[f"{name}_windows"] for name in ("train", "validation", "test")]
    assert all(splits)
    assert shown["dagster/row_count"] == LABELLED + 20
    assert re.fullmatch("[0-9a-f]{16}", str(shown["dataset_hash"]))
    assert shown["path"] == f"artifacts/snapshots/{shown['dataset_hash']}"
    assert (run.home.root / str(shown["path"]) / "windows" / "part-000.parquet").is_file()
    assert shown["outcome"] == run.result.output_for_node("dataset_snapshot").feasibility.summary
    assert (shown["users"], shown["holdout_users"]) == (2, "none")
    cuts = run.table("dataset_snapshot", "cuts")
    assert [(row["user"], row["part"]) for row in cuts] == [
        ("user-0", "validation"),
        ("user-0", "test"),
        ("user-1", "validation"),
        ("user-1", "test"),
    ]
    exclusions = {row["reason"]: row["windows"] for row in run.table("dataset_snapshot", "exclusions")}
    assert exclusions["duplicate_window"] == 3


def test_challenger_model_shows_how_it_was_trained(run: Run) -> None:
    shown = run.shown("challenger_model")
    assert re.fullmatch(r"2026-02-04_000000_run-\d{4}", str(shown["model_id"]))
    split = run.shown("dataset_snapshot")
    assert split["train_windows"] < shown["training_windows"] <= split["train_windows"] + split["validation_windows"]
    assert 0.5 < shown["validation_macro_f1"] < 1
    assert 0 < shown["reject_threshold"] < 1
    assert shown["reject_threshold_choice"]
    assert shown["params"]["num_boost_round"] == 20
    assert len(str(shown["tree_hash"])) == 64
    importance = run.table("challenger_model", "feature_importance")
    assert 0 < len(importance) <= 15
    assert importance[0]["share of gain"] >= importance[-1]["share of gain"]


@pytest.mark.parametrize("asset", ["challenger_report", "champion_report"])
def test_a_report_shows_every_figure_of_a_model_as_a_number_that_can_be_plotted(run: Run, asset: str) -> None:
    shown = run.shown(asset)
    figures = ("macro_f1", "weighted_f1", "accuracy", "reject_rate", "expected_calibration_error", "flap_rate", "flap_rate_smoothed")
    assert all(isinstance(shown[name], float) for name in (*figures, "multiclass_brier_score", "multiclass_log_loss"))
    assert shown["dagster/row_count"] == run.shown("dataset_snapshot")["test_windows"]
    assert [row["label"] for row in run.table(asset, "per_class")] == list(LABELS)
    assert [row["user"] for row in run.table(asset, "per_user")] == ["user-0", "user-1"]


def test_a_report_shows_its_most_frequent_confusions_or_none(run: Run) -> None:
    for asset in ("challenger_report", "champion_report"):
        pairs = run.record(asset)["report"]["top_confusion_pairs"]
        assert (len(run.table(asset, "top_confusions")) if pairs else run.shown(asset)["top_confusions"]) == (len(pairs) or "none")
    assert run.table("challenger_report", "top_confusions")


def test_challenger_report_shows_every_gate_and_both_baselines(run: Run) -> None:
    gates = {row["gate"].replace(" ", "_"): row for row in run.table("challenger_report", "gates")}
    assert list(gates) == list(CANDIDATE_GATES)
    assert gates["reproducible"]["verdict"] == "PASS"
    assert gates["macro_f1"]["verdict"] == "PASS"
    assert gates["macro_f1"]["observed"] == f"{run.shown('challenger_report')['macro_f1']:.4f}"
    assert gates["reject_rate_bounds"]["needed"] == "0.05..0.3"
    assert [row["baseline"] for row in run.table("challenger_report", "baselines")] == ["rules", "lookup table"]


def test_champion_report_shows_which_model_it_is_and_why(run: Run) -> None:
    shown = run.shown("champion_report")
    assert (shown["state"], shown["source"], shown["model_id"]) == ("ok", "pointer", MID)
    assert shown["windows_without_features"] == 0
    assert shown["metrics_are_on"] == f"all {shown['dagster/row_count']} test windows, none of which it was trained on"
    assert shown["warnings"] == "none"


def test_promotion_decision_shows_verdict_reason_gates_and_both_models_beside_each_other(run: Run) -> None:
    shown = run.shown("promotion_decision")
    assert (shown["verdict"], shown["gates_failed"]) == ("PROMOTE", 0)
    assert list(shown)[:5] == ["verdict", "reason", "comparison", "fair_comparison", "gates"]
    assert shown["reason"] == run.record("promotion_decision")["reason"]
    assert shown["macro_f1_delta"] == pytest.approx(shown["macro_f1_challenger"] - shown["macro_f1_champion"])
    assert run.record("promotion_decision")["comparison"]["evidence"]["summary"] in str(shown["comparison"])
    assert [row["gate"].replace(" ", "_") for row in run.table("promotion_decision", "gates")] == list(REQUIRED_GATES)
    comparison = run.record("promotion_decision")["comparison"]
    rows = {row[f"on {comparison['windows']} windows"]: row for row in run.table("promotion_decision", "fair_comparison")}
    assert rows["macro-F1"]["champion"] == f"{comparison['champion_macro_f1']:.4f}"
    assert shown["compared_windows"] == comparison["windows"]
    assert Path(str(shown["record"])).name == f"{shown['decision_id']}.json"


def test_promotion_decision_shows_the_evidence_as_numbers_tables_and_a_picture(run: Run) -> None:
    shown = run.shown("promotion_decision")
    comparison = run.record("promotion_decision")["comparison"]
    assert [shown["lower_bound"], shown["upper_bound"]] == pytest.approx(comparison["evidence"]["interval"], abs=5e-5)
    assert shown["lower_bound"] < shown["macro_f1_delta"] < shown["upper_bound"]
    flips = run.table("promotion_decision", "flips")
    assert {row["label"]: row["became right"] for row in flips} == comparison["flips"]["positive"]
    assert [row["model"] for row in run.table("promotion_decision", "learned_from")] == [
        run.shown("active_pointer")["model_id"],
        MID,
    ]
    assert {row["name"] for row in run.table("promotion_decision", "users")} == {"user-0", "user-1"}
    changes = run.record("promotion_decision")["prediction_diff"]
    assert shown["what_changes"] == changes["summary"]
    assert sum(row["minutes"] for row in run.table("promotion_decision", "relabelled_minutes")) == changes["relabelled"] > 0
    assert all(line in str(shown["protections"]) for line in run.record("promotion_decision")["protections"])


def test_promotion_decision_writes_the_report_and_says_where_it_is(run: Run) -> None:
    shown = run.shown("promotion_decision")
    name = f"{shown['decision_id']}.html"
    assert [path.name for path in run.home.reports.iterdir()] == [name]
    assert Path(str(shown["report"])).name == Path(run.tags["taskclf/report"]).name == name
    text = (run.home.reports / name).read_text(encoding="utf-8")
    sections = ("What it confuses", "How sure it is, and how often it is right", "What changes for you", "Minutes that did not count")
    assert [section for section in sections if section not in text] == []
    assert ">Left out<" not in text
    assert make_report(run.home, load_decision(run.home, str(shown["decision_id"]))) == text
    card = (run.home.models / str(shown["challenger_model"]) / MODEL_CARD).read_text(encoding="utf-8")
    assert "raw_window_title" not in text + card
    assert "secret" not in text + card
    assert "user-0" not in card
    assert re.search(r"macro-F1, the mean over labels \| 0\.\d{4} \| [01]\.\d{4} to [01]\.\d{4} \(95 %\)", card)


def test_promotion_decision_shows_what_to_label_next_as_it_is_stored(run: Run) -> None:
    found = load_suggestions(run.home, str(run.shown("promotion_decision")["decision_id"]))
    assert found is not None
    rows = run.table("promotion_decision", "what_to_label_next")
    assert [row["why"] for row in rows] == [each.reason for each in found.suggestions] != []
    assert list(rows[0]) == ["user", "day", "from - to", "why"]


def test_what_promotion_decision_leaves_in_the_event_log_stays_small(run: Run) -> None:
    checks = [e for e in run.result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey("promotion_decision")]
    sizes = [len(dg.serialize_value(each)) for each in (run.made["promotion_decision"], *checks)]
    assert 10_000 < sum(sizes) < 300_000, sizes


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        ("macro_f1_no_regression", "interval"),
        ("not_worse_than_anchor", "anchors"),
        ("no_user_clearly_worse", "users"),
        ("no_class_clearly_worse", "labels"),
        ("no_slice_clearly_worse", "slices"),
        ("negative_flips", "flips"),
    ],
)
def test_the_check_of_a_comparative_gate_carries_its_table_or_picture(run: Run, gate: str, shown: str) -> None:
    (check,) = [e for e in run.result.get_asset_check_evaluations() if e.check_name == gate]
    assert check.metadata[shown] == run.made["promotion_decision"].metadata[shown]


def test_active_pointer_shows_what_runs_now_and_what_ran_before(run: Run) -> None:
    shown = run.shown("active_pointer")
    assert shown["model_id"] == run.shown("challenger_model")["model_id"]
    assert shown["previous"] == f"models/{MID}"
    assert shown["decision_id"] == run.shown("promotion_decision")["decision_id"]
    assert shown["macro_f1"] == run.shown("challenger_report")["macro_f1"]


@pytest.mark.parametrize(
    ("asset", "names"),
    [
        ("challenger_model", {"feature_importance_picture", "learning_curve"}),
        ("challenger_report", {"confusion_matrix", "calibration"}),
        ("champion_report", {"confusion_matrix", "calibration"}),
        ("promotion_decision", {"resamples"}),
    ],
)
def test_pictures_are_small_images_in_markdown(run: Run, asset: str, names: set[str]) -> None:
    pictures = _pictures(run.shown(asset))
    assert set(pictures) == names
    assert all(content.startswith(b"\x89PNG") and 1000 < len(content) <= 50_000 for content in pictures.values())


# --- Data versions ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ASSETS)
def test_the_data_version_of_an_asset_is_the_hash_of_its_record(run: Run, asset: str) -> None:
    record = {name: value for name, value in run.record(asset).items() if name not in DIFFERS_BETWEEN_EQUAL_RUNS.get(asset, ())}
    if record.get("recent"):  # the number in front of the name of its file may differ
        record["recent"] = {name: value for name, value in record["recent"].items() if name != "path"}
    if asset == "promotion_decision":  # a receipt, which leaves out what is as by default
        record = PromotionDecision.model_validate(record).model_dump(mode="json")
    assert run.made[asset].tags["dagster/data_version"] == json_hash(record)


@pytest.mark.parametrize("asset", ASSETS[:5])  # a decision names files of the bundle, whose metadata has timings
def test_equal_input_gives_an_equal_data_version(runs: tuple[Run, Run], asset: str) -> None:
    first, second = (run.made[asset].tags["dagster/data_version"] for run in runs)
    assert first == second


def test_the_same_home_time_and_settings_give_the_same_dataset_trees_and_decision(runs: tuple[Run, Run]) -> None:
    first, second = runs
    assert first.record("dataset_snapshot")["dataset_digest"] == second.record("dataset_snapshot")["dataset_digest"]
    assert first.record("challenger_model")["tree_hash"] == second.record("challenger_model")["tree_hash"]
    one, two = (run.record("promotion_decision") for run in runs)
    assert (one["verdict"], one["reason"], one["gates"]) == (two["verdict"], two["reason"], two["gates"])
    assert one["comparison"] == two["comparison"]


def test_other_labels_give_another_data_version(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=AS_OF.isoformat()))
    job = definitions.resolve_implicit_global_asset_job_def()
    versions = []
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("labeled_windows")])
        versions.append(result.get_asset_materialization_events()[0].materialization.tags["dagster/data_version"])
        write_labels(home, pq.read_table(home.labels).to_pylist()[1:])
    assert versions[0] != versions[1]


# --- Nothing new ------------------------------------------------------------------------------------------------------------------


def test_with_nothing_new_only_the_first_two_assets_are_made_and_the_run_is_green(again: Run) -> None:
    assert again.result.success
    assert set(again.made) == {"labeled_windows", "dataset_snapshot"}
    assert again.tags["taskclf/outcome"] == "SKIP"


def test_the_snapshot_carries_the_reason_and_what_to_do(again: Run) -> None:
    assert again.shown("dataset_snapshot")["outcome"] == again.record("dataset_snapshot")["skip_reason"]


def test_the_words_of_assets(run: Run, again: Run, snapshot: SnapshotAssertion) -> None:
    told = {"skip": again.shown("dataset_snapshot")["outcome"], "promote": run.shown("promotion_decision")["reason"]}
    assert told == snapshot


def test_what_does_not_happen_is_skipped_not_failed(again: Run) -> None:
    skipped = {event.step_key for event in again.result.all_events if event.is_step_skipped}
    assert skipped >= {"challenger_report", "promotion_decision", "active_pointer"}
    assert not [event for event in again.result.all_events if event.is_step_failure]


def test_a_skip_counts_as_a_decided_run(again: Run) -> None:
    last = read_last_decided(again.home)
    assert last is not None
    assert (last.outcome, last.run_id) == ("SKIP", again.result.run_id)


def test_a_dry_run_trains_although_nothing_is_new_does_not_count_and_links_its_report_on_the_server(again: Run, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in again.home.decisions.iterdir() if not path.name.startswith("20")}
    config = tmp_path / "served.yaml"
    config.write_text(f"server: {{url: https://retrain.example.org}}\n{QUICK}", "utf-8")
    dry = _run(again.home, config, dry_run=True)
    assert "dry run" in dry.tags["taskclf/outcome"]
    page = f"https://retrain.example.org/retrain/reports/{dry.shown('promotion_decision')['decision_id']}"
    assert dry.shown("promotion_decision")["report_page"] == dry.tags["taskclf/report"] == page
    assert {path.name: path.read_bytes() for path in again.home.decisions.iterdir() if not path.name.startswith("20")} == before


def test_a_report_that_cannot_be_written_stops_no_decision(again: Run, tmp_path: Path) -> None:
    shutil.rmtree(again.home.reports)
    again.home.reports.write_bytes(b"")
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK, "utf-8")
    dry = _run(again.home, config, dry_run=True)
    assert dry.result.success
    assert "report" not in dry.shown("promotion_decision")
    assert "taskclf/report" not in dry.tags
    again.home.reports.unlink()


def test_what_taskclf_reads_is_left_as_it_was(runs: tuple[Run, Run]) -> None:
    home = runs[1].home
    assert sorted(path.name for path in home.root.iterdir()) == ["artifacts", "data", "models"]
    assert {path.name for path in home.models.iterdir() if path.is_dir()} == {OLD, MID, runs[1].record("challenger_model")["model_id"]}
    assert contents(home.root / "data") == contents(runs[0].home.root / "data")
