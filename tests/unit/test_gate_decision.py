"""Rules, slices and the verdict; the fail-closed table of docs/gate.md, a row a test."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gate_files import HEAD, answers, project, rows, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_actions import config, evidence
from mlops_actions.config import Slice
from mlops_actions.errors import ConfigurationError
from mlops_actions.gate import decision, slices
from mlops_actions.gate.decision import SetInput, judge
from mlops_actions.gate.rows import Guardrail, settle

NOT_WORSE = "metrics: {roc_auc: {non_inferiority_margin: 0.05}}"
BOTH = "metrics: {roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05}}"
REGRESSION = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")
SLOW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def keys():
    return rows(2000)


@pytest.fixture(scope="module")
def good(keys):
    return answers(keys, seed=1)


@pytest.fixture(scope="module")
def champion(keys):
    return answers(keys, seed=2)


@pytest.fixture(scope="module")
def bad(keys):
    return answers(keys, noise=4, seed=3)


def run(folder, gate, *, head=HEAD, baseline=None, name="development", cutoffs=(), **frames):
    paths = write(folder, **frames)
    return judge(
        project(gate, head=head), {name: SetInput(**paths, cutoffs=cutoffs)}, baseline=baseline
    )


def statuses(judgement):
    return {item["name"]: item["status"] for item in judgement.checks}


def reason(judgement):
    return " ".join(judgement.reasons)


# --- Verdicts ----------------------------------------------------------------------------------


def test_not_worse_than_the_champion_is_blessed(tmp_path, good, champion):
    judgement = run(tmp_path, BOTH, candidate=good, champion=champion)
    assert judgement.verdict == "blessed"
    assert judgement.reasons == []
    assert not judgement.stops
    (row,) = judgement.metrics
    assert row["status"] == "pass"
    assert row["requirement"] == "at least 0.7; not worse by more than 0.05"
    for side in ("candidate", "champion", "difference"):
        assert row[side]["low"] <= row[side]["estimate"] <= row[side]["high"]


def test_worse_than_the_margin_is_rejected(tmp_path, bad, champion):
    judgement = run(tmp_path, NOT_WORSE, candidate=bad, champion=champion)
    assert judgement.verdict == "rejected"
    assert judgement.stops
    assert "not worse by more than 0.05. The interval excludes it" in reason(judgement)


def test_too_close_to_call_is_inconclusive(tmp_path, good, champion):
    gate = "min_rows: 10\nmetrics: {roc_auc: {non_inferiority_margin: 0.0}}"
    judgement = run(tmp_path, gate, candidate=good[:200], champion=champion[:200])
    assert judgement.verdict == "inconclusive"
    assert "leaves it open" in reason(judgement)
    assert judgement.stops


def test_the_same_answers_are_unchanged(tmp_path, good):
    judgement = run(tmp_path, BOTH, candidate=good, champion=good.reverse())
    assert judgement.verdict == "unchanged"
    assert not judgement.stops


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("threshold: 0.99", "rejected"),
        ("threshold: 0.5", "blessed"),
        ("non_inferiority_margin: 0.05", "blessed"),
        ("min_absolute_change: 0.0", "inconclusive"),
        ("min_absolute_change: 0.2", "rejected"),
        ("min_relative_change: 0.2", "rejected"),
        ("threshold: 0.5, max_absolute_change: 0.1", "blessed"),
    ],
)
def test_each_rule_on_equal_models(tmp_path, good, champion, rule, verdict):
    gate = f"metrics: {{roc_auc: {{{rule}}}}}"
    assert run(tmp_path, gate, candidate=good, champion=champion).verdict == verdict


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("threshold: 0.6", "blessed"),
        ("threshold: 0.1", "rejected"),
        ("min_absolute_change: 0.01", "blessed"),
        ("min_relative_change: 0.05", "blessed"),
        ("min_relative_change: 0.9", "rejected"),
        ("threshold: 0.6, max_absolute_change: 0.01", "rejected"),
        ("threshold: 0.6, max_absolute_change: 0.3", "blessed"),
    ],
)
@pytest.mark.parametrize("name", ["log_loss", "neg_log_loss"])
def test_each_rule_on_a_better_model_by_a_loss(tmp_path, keys, good, rule, verdict, name):
    if name.startswith("neg_"):
        rule = rule.replace("threshold: ", "threshold: -")
    gate = f"metrics: {{{name}: {{{rule}}}}}"
    judgement = run(tmp_path, gate, candidate=good, champion=answers(keys, noise=1.3, seed=4))
    assert judgement.verdict == verdict


def test_required_stands_in_the_direction_of_the_metric(tmp_path, good, champion):
    gate = """
metrics:
  log_loss: {non_inferiority_margin: 0.1}
  roc_auc: {non_inferiority_margin: 0.1}
"""
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    required = {item["metric"]: item["required"] for item in judgement.checks if "metric" in item}
    assert required == {"log_loss": 0.1, "roc_auc": -0.1}


def test_the_own_loss_needs_its_direction(tmp_path, good, champion):
    with pytest.raises(ConfigurationError, match="needs greater_is_better"):
        run(tmp_path, "metrics: {loss_cost: {threshold: 1}}", candidate=good)
    gate = "metrics: {loss_cost: {non_inferiority_margin: 0.1, greater_is_better: false}}"
    costly = good.with_columns(loss_cost=pl.lit(1.0))
    cheap = champion.with_columns(loss_cost=pl.lit(0.5))
    assert run(tmp_path, gate, candidate=costly, champion=cheap).verdict == "rejected"
    assert run(tmp_path, gate, candidate=cheap, champion=costly).verdict == "blessed"


def test_a_metric_that_does_not_exist_is_refused_with_its_line(tmp_path, good):
    with pytest.raises(ConfigurationError, match="Did you mean roc_auc or ") as caught:
        run(tmp_path, "metrics:\n  roc_acu: {threshold: 0.5}", candidate=good)
    assert caught.value.line == 9
    with pytest.raises(ConfigurationError, match="is not for a classification"):
        run(tmp_path, "metrics: {r2: {threshold: 0.5}}", candidate=good)
    gate = "metrics: {roc_auc: {threshold: 0.5, greater_is_better: false}}"
    with pytest.raises(ConfigurationError, match="greater_is_better of roc_auc is true"):
        run(tmp_path, gate, candidate=good)


def test_a_dry_run_says_what_it_would_have_done(tmp_path, bad, champion):
    for mode in ("dry_run", "disabled"):
        gate = f"mode: {mode}\n{NOT_WORSE}"
        judgement = run(tmp_path, gate, candidate=bad, champion=champion)
        assert judgement.verdict == "rejected"
        assert not judgement.gated
        assert not judgement.stops
        assert f"gate.mode is {mode}" in judgement.warnings[0]


# --- Without a champion ------------------------------------------------------------------------


def test_no_champion_is_refused_unless_allowed(tmp_path, good):
    judgement = run(tmp_path, BOTH, candidate=good)
    assert judgement.verdict == "rejected"
    assert "gate.bootstrap is refuse" in reason(judgement)
    assert not judgement.bootstrap


def test_the_first_model_meets_the_thresholds_only(tmp_path, good, bad):
    gate = f"bootstrap: allow\n{BOTH}"
    judgement = run(tmp_path, gate, candidate=good)
    assert judgement.verdict == "blessed"
    assert judgement.bootstrap
    assert "nothing was compared" in judgement.warnings[0]
    assert statuses(judgement)["development: roc_auc non_inferiority_margin"] == "skipped"
    high = gate.replace("0.7", "0.95")
    assert run(tmp_path, high, candidate=bad).verdict == "rejected"


def test_a_first_model_that_meets_no_threshold_is_not_blessed(tmp_path, good):
    judgement = run(tmp_path, f"bootstrap: allow\n{NOT_WORSE}", candidate=good)
    assert judgement.verdict == "inconclusive"
    assert "Without a champion only a threshold can be shown" in reason(judgement)


def test_a_champion_without_predictions_is_no_bootstrap(tmp_path, good):
    baseline = {"alias": "champion", "version": "3", "run_id": "r"}
    judgement = run(tmp_path, f"bootstrap: allow\n{BOTH}", candidate=good, baseline=baseline)
    assert judgement.verdict == "rejected"
    assert "no predictions of it on development" in reason(judgement)
    assert not judgement.bootstrap


# --- Fail closed -------------------------------------------------------------------------------


@SLOW
@given(
    side=st.sampled_from(["candidate", "champion"]),
    column=st.sampled_from(["probability_1", "prediction"]),
    value=st.sampled_from([None, float("nan"), float("inf"), float("-inf")]),
    place=st.integers(0, 199),
)
def test_a_value_that_is_no_number_is_never_blessed(tmp_path, side, column, value, place):
    keys = rows(200)
    frames = {"candidate": answers(keys, seed=1), "champion": answers(keys, seed=2)}
    values = frames[side][column].cast(pl.Float64).to_list()
    values[place] = value
    frames[side] = frames[side].with_columns(pl.Series(column, values, dtype=pl.Float64))
    gate = "metrics: {roc_auc: {min_relative_change: 0.0}, accuracy: {threshold: 0.0}}"
    judgement = run(tmp_path, gate, **frames)
    assert judgement.verdict == "rejected"
    assert f"1 of 200 values of {column} are missing" in reason(judgement)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_relative_change_needs_a_positive_champion(tmp_path, value):
    random = np.random.default_rng(0)
    target = random.normal(size=300)
    base = pl.DataFrame({"id": np.arange(300), "target": target})
    near = base.with_columns(prediction=pl.Series(target + 0.1 * random.normal(size=300)))
    # R2 of 0 where the champion predicts the mean; of -1 and less where it is far off.
    far = base.with_columns(
        prediction=pl.lit(float(target.mean())) if value == 0 else pl.col("target") * -1
    )
    gate = "metrics: {r2: {min_relative_change: 0.1}}"
    judgement = run(tmp_path, gate, head=REGRESSION, candidate=near, champion=far)
    assert judgement.verdict == "rejected"
    assert "a relative change needs a positive one" in reason(judgement)


def test_a_policy_that_requires_nothing_blesses_nothing(tmp_path, good, champion):
    with pytest.raises(ConfigurationError, match="metrics"):
        project("metrics: {}")
    with pytest.raises(ConfigurationError, match="must ask for something"):
        project("metrics: {roc_auc: {}}")
    gate = "metrics: {roc_auc: {max_absolute_change: 0.5}}"
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "inconclusive"
    assert "blesses nothing" in reason(judgement)


def test_one_class_leaves_it_open(tmp_path, good, champion):
    ones = good.filter(pl.col("target") == 1)
    judgement = run(tmp_path, BOTH, candidate=ones, champion=champion.filter(pl.col("target") == 1))
    assert judgement.verdict == "inconclusive"
    assert "the target has one class only" in reason(judgement)


def test_one_class_in_a_slice_leaves_it_open(tmp_path, good, champion):
    frames = {
        name: frame.with_columns(
            origin=pl.when(pl.col("target") == 1).then(pl.lit("A")).otherwise("origin")
        )
        for name, frame in (("candidate", good), ("champion", champion))
    }
    judgement = run(tmp_path, f"{BOTH}\nslices: [{{columns: [origin]}}]", **frames)
    assert judgement.verdict == "inconclusive"
    assert "roc_auc on origin=A is undefined" in reason(judgement)


@pytest.mark.parametrize(("left", "verdict"), [(9, "inconclusive"), (10, "blessed")])
def test_few_rows_of_a_class_leave_it_open(tmp_path, good, champion, left, verdict):
    """Nine positives that are all ranked right do not show how the tenth would be."""
    negatives = pl.col("target") == 0
    frames = {
        name: pl.concat([frame.filter(negatives), frame.filter(~negatives)[:left]])
        for name, frame in (("candidate", good), ("champion", champion))
    }
    gate = "metrics: {roc_auc: {threshold: 0.5}, accuracy: {threshold: 0.5}}"
    judgement = run(tmp_path, gate, **frames)
    assert judgement.verdict == verdict
    if verdict == "inconclusive":
        assert reason(judgement) == (
            "development: roc_auc says too little: the class 1 has 9 rows, fewer than 10."
        )


def test_numbers_that_cannot_be_computed_with_leave_it_open(tmp_path, keys):
    frame = keys.select("id", target=pl.col("signal"), prediction=pl.col("signal") + 0.1)
    wild = frame.with_columns(
        prediction=pl.when(pl.col("id") == 3).then(1e155).otherwise("prediction")
    )
    gate = "metrics: {root_mean_squared_error: {threshold: 1}}"
    judgement = run(tmp_path, gate, head=REGRESSION, candidate=wild, champion=frame)
    assert judgement.verdict == "inconclusive"


def test_few_rows_decide_nothing(tmp_path, good, champion):
    judgement = run(tmp_path, BOTH, candidate=good[:99], champion=champion[:99])
    assert judgement.verdict == "inconclusive"
    assert "99 rows; fewer than 100 decide nothing" in reason(judgement)
    assert judgement.metrics == []


def test_no_row_after_the_cut_off_decides_nothing(tmp_path, good, champion):
    head = HEAD.replace("id: row", "id: row\ntime: at")
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    timed = {
        name: frame.with_columns(time=pl.lit(start))
        for name, frame in (("candidate", good), ("champion", champion))
    }
    judgement = run(tmp_path, BOTH, head=head, cutoffs=(start,), **timed)
    assert judgement.verdict == "inconclusive"
    assert "2000 rows up to the training cut-off were left out" in reason(judgement)
    earlier = start - datetime.timedelta(seconds=1)
    assert run(tmp_path, BOTH, head=head, cutoffs=(earlier,), **timed).verdict == "blessed"


def test_a_missing_column_is_rejected_by_name(tmp_path, good, champion):
    judgement = run(tmp_path, BOTH, candidate=good.drop("prediction"), champion=champion)
    assert judgement.verdict == "rejected"
    assert "has no column prediction" in reason(judgement)
    gate = f"{BOTH}\nslices: [{{columns: [carrier]}}]"
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "rejected"
    assert "has no column carrier" in reason(judgement)


def test_tied_scores_are_no_ranking(tmp_path, good, champion):
    constant = good.with_columns(
        prediction=pl.lit(1), probability_0=pl.lit(0.5), probability_1=pl.lit(0.5)
    )
    judgement = run(tmp_path, BOTH, candidate=constant, champion=champion)
    assert judgement.verdict == "rejected"
    assert judgement.metrics[0]["candidate"]["estimate"] == 0.5


@pytest.mark.parametrize("damage", ["ids", "target", "file"])
def test_what_cannot_be_paired_is_rejected(tmp_path, good, champion, damage):
    if damage == "ids":
        champion = pl.concat([champion, champion[:1]])
    if damage == "target":
        champion = champion.with_columns(target=1 - pl.col("target"))
    paths = write(tmp_path, candidate=good, champion=champion)
    if damage == "file":
        paths["champion"].write_bytes(b"gone")
    judgement = judge(project(BOTH), {"development": SetInput(**paths)}, baseline=None)
    assert judgement.verdict == "rejected"
    assert judgement.metrics == []


def test_no_set_is_no_blessing():
    assert judge(project(BOTH), {}, baseline=None).verdict == "inconclusive"
    assert decision.verdict_of([]) == "inconclusive"


@SLOW
@given(st.lists(st.sampled_from(["pass", "fail", "inconclusive", "skipped"])))
def test_the_verdict_is_that_of_the_worst_check(found):
    verdict = decision.verdict_of([evidence.check(str(n), s) for n, s in enumerate(found)])
    if "fail" in found:
        assert verdict == "rejected"
    elif "inconclusive" in found or "pass" not in found:
        assert verdict == "inconclusive"
    else:
        assert verdict == "blessed"


# --- Slices ------------------------------------------------------------------------------------

SLICED = f"{BOTH}\nslices: [{{columns: [origin]}}]"


def spoiled(frame, where):
    """Turn the answers around where it is asked."""
    return frame.with_columns(
        prediction=pl.when(where).then(1 - pl.col("prediction")).otherwise("prediction"),
        probability_1=pl.when(where).then("probability_0").otherwise("probability_1"),
        probability_0=pl.when(where).then("probability_1").otherwise("probability_0"),
    )


def test_a_slice_that_got_worse_rejects(tmp_path, keys):
    keys = keys.with_columns(
        origin=pl.when(pl.col("id") < 120).then(pl.lit("X")).otherwise("origin")
    )
    good, champion = answers(keys, seed=1), answers(keys, seed=2)
    gate = SLICED.replace("0.05", "0.2")
    assert run(tmp_path, gate, candidate=good, champion=champion).verdict == "blessed"
    judgement = run(
        tmp_path, gate, candidate=spoiled(good, pl.col("origin") == "X"), champion=champion
    )
    assert judgement.verdict == "rejected"
    failed = [name for name, status in statuses(judgement).items() if status == "fail"]
    assert failed == ["development: roc_auc non_inferiority_margin, origin=X"]
    assert "The violation is shown (Holm-adjusted p" in reason(judgement)


def test_a_slice_of_equal_models_is_not_asked_for_proof(tmp_path, good, champion):
    gate = SLICED.replace("threshold: 0.7, non_inferiority_margin: 0.05", "threshold: 0.7")
    gate = gate.replace("0.7}", "0.7, non_inferiority_margin: 0.02}")
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "blessed"
    required = gate.replace("[origin]", "[origin], require: true")
    judgement = run(tmp_path, required, candidate=good[:500], champion=champion[:500])
    assert judgement.verdict == "inconclusive"
    assert all(row["required"] for row in judgement.slices)


def test_small_slices_are_listed_and_not_judged(tmp_path, good, champion):
    def rare(frame):
        return frame.with_columns(
            origin=pl.when(pl.col("id") < 5).then(pl.lit("ACK")).otherwise("origin")
        )

    judgement = run(tmp_path, SLICED, candidate=rare(good), champion=rare(champion))
    assert judgement.verdict == "blessed"
    small = [row for row in judgement.slices if row["metric"] is None]
    assert [(row["slice"], row["rows"], row["status"]) for row in small] == [
        ("origin=ACK", 5, "skipped")
    ]
    assert statuses(judgement)["development: small slices of origin"] == "skipped"


def test_a_slice_that_is_expected_must_be_there(tmp_path, good, champion):
    gate = SLICED.replace("[origin]", "[origin], values: [JFK, SFO]")
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "rejected"
    assert "has no row with origin=SFO" in reason(judgement)


def test_a_slice_the_champion_had_must_be_there(tmp_path, good, champion):
    baseline = {"version": "1", "slices": {"development": ["origin=JFK", "origin=SFO"]}}
    judgement = run(tmp_path, SLICED, candidate=good, champion=champion, baseline=baseline)
    assert judgement.verdict == "rejected"
    assert "judged on the slice origin=SFO" in reason(judgement)


def test_the_next_gate_expects_the_slices_of_this_one(tmp_path, good, champion):
    gate = f"{BOTH}\nslices: [{{columns: [origin]}}, {{columns: [id], bins: 3}}]"
    first = run(tmp_path, gate, candidate=good, champion=champion)
    config = project(gate).config
    had = decision.expected_slices(config, first.predicate(config, None))
    assert had == {"development": ["origin=EWR", "origin=JFK", "origin=LGA"]}
    baseline = {"version": "1", "slices": had}
    fewer = {"candidate": good[:1500], "champion": champion[:1500]}
    assert run(tmp_path, gate, baseline=baseline, **fewer).verdict == "blessed"
    gone = {name: frame.filter(pl.col("origin") != "LGA") for name, frame in fewer.items()}
    judgement = run(tmp_path, gate, baseline=baseline, **gone)
    assert judgement.reasons == [
        "The champion was judged on the slice origin=LGA, which the set development no longer has."
    ]


def test_names_with_a_comma_are_expected_like_others(tmp_path, good, champion):
    gate = f"{BOTH}\nslices: [{{columns: [origin]}}, {{columns: [origin, even]}}]"
    frames = {
        name: frame.with_columns(
            origin=pl.col("origin").replace("LGA", "Portland, even=1"), even=pl.col("id") % 2
        )
        for name, frame in (("candidate", good), ("champion", champion))
    }
    config = project(gate).config
    first = run(tmp_path, gate, **frames).predicate(config, None)
    had = decision.expected_slices(config, first)
    assert len(had["development"]) == 9
    assert "origin=Portland, even=1" in had["development"]
    only = project(gate.replace(", {columns: [origin, even]}", "")).config
    assert len(decision.expected_slices(only, first)["development"]) == 3


def test_expected_values_are_found_whatever_the_type(tmp_path, good, champion):
    gate = SLICED.replace("[origin]", "[code], values: [1, 2]")
    codes = pl.Series([(None, 1.0, 2.0)[place % 3] for place in range(good.height)])
    frames = {"candidate": good.with_columns(code=codes), "champion": champion}
    assert run(tmp_path, gate, **frames).verdict == "blessed"
    judgement = run(tmp_path, gate.replace("2]", "None]"), **frames)
    assert "has no row with code=None" in reason(judgement)


def test_a_column_may_have_any_name(tmp_path, good, champion):
    frames = {"candidate": good.rename({"origin": "position"}), "champion": champion}
    judgement = run(tmp_path, SLICED.replace("[origin]", "[position]"), **frames)
    assert judgement.verdict == "blessed"


def test_slices_that_are_all_too_small_leave_it_open(tmp_path, good, champion):
    gate = f"min_slice_size: 5000\n{SLICED}"
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "inconclusive"
    assert "No slice of origin has 5000 rows" in reason(judgement)


def test_a_slice_may_name_its_metrics(tmp_path, good, champion):
    gate = """
metrics:
  roc_auc: {non_inferiority_margin: 0.05}
  accuracy: {non_inferiority_margin: 0.05}
slices: [{columns: [origin], metrics: [accuracy]}]
"""
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert {row["metric"] for row in judgement.slices} == {"accuracy"}
    with pytest.raises(ConfigurationError, match="which gate"):
        run(tmp_path, gate.replace("[accuracy]", "[f1]"), candidate=good, champion=champion)


def test_a_threshold_is_asked_of_a_slice_only_if_it_is_required(tmp_path, good, champion):
    hard = pl.col("origin") == "JFK"
    gate = SLICED.replace("0.7,", "0.55,")
    spoilt = {"candidate": spoiled(good, hard), "champion": spoiled(champion, hard)}
    judgement = run(tmp_path, gate, **spoilt)
    rules = {item["rule"] for item in judgement.checks if "slice" in item}
    assert rules == {"non_inferiority_margin"}
    required = gate.replace("[origin]", "[origin], require: true")
    judgement = run(tmp_path, required, **spoilt)
    assert judgement.verdict == "rejected"
    assert "roc_auc on origin=JFK is" in reason(judgement)


def test_a_column_of_ids_is_no_slice(tmp_path, monkeypatch):
    keys = rows(1500)
    frames = {"candidate": answers(keys, seed=1), "champion": answers(keys, seed=2)}
    gate = f"{BOTH}\nmin_slice_size: 1\nslices: [{{columns: [id]}}]"
    for limit in (20_000, 1_000):  # Cut and counted, or not even cut.
        monkeypatch.setattr(slices, "MOST_PARTS", limit)
        judgement = run(tmp_path, gate, **frames)
        assert judgement.verdict == "rejected"
        assert "id makes 1500 slices" in reason(judgement)


def test_a_slice_of_which_nothing_is_asked_leaves_it_open(tmp_path, good, champion):
    gate = """
metrics:
  roc_auc: {threshold: 0.7, max_absolute_change: 0.1}
  accuracy: {max_absolute_change: 0.1}
slices: [{columns: [origin], metrics: [accuracy]}]
"""
    judgement = run(tmp_path, gate, candidate=good, champion=champion)
    assert judgement.verdict == "inconclusive"
    assert "Nothing is asked of the slices of origin" in reason(judgement)


@pytest.mark.parametrize(
    ("column", "bins", "names"),
    [
        (["b", "a", None, "a"], None, ["v=a", "v=b", "v=(missing)"]),
        ([True, False, True], None, ["v=False", "v=True"]),
        ([1.0, float("nan"), None, 2.5], None, ["v=1", "v=2.5", "v=(missing)"]),
        ([1, 2, 1], 2, ["v=1", "v=2"]),
        ([float(n) for n in range(9)], 3, ["v=[0, 2)", "v=[2, 5)", "v=[5, 8]"]),
        ([0.0, 0.0, 0.0, 1.0, 2.0, None], 2, ["v=[0, 2]", "v=(missing)"]),
    ],
)
def test_how_a_column_is_cut(column, bins, names):
    frame = pl.DataFrame({"v": column})
    policy = Slice(columns=["v"], bins=bins)
    parts = slices.divide(frame, policy)
    assert [part.name for part in parts] == names
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(len(column)))


@SLOW
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=False)), min_size=1
    ),
    bins=st.one_of(st.none(), st.integers(2, 20)),
)
def test_every_row_is_in_one_part(values, bins):
    frame = pl.DataFrame(
        {"v": values, "w": ["x"] * len(values)}, schema_overrides={"v": pl.Float64}
    )
    parts = slices.divide(frame, Slice(columns=["v", "w"], bins=bins))
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(len(values)))
    assert len({part.name for part in parts}) == len(parts)
    assert all(len(part.rows) for part in parts)


def test_a_sensitive_value_is_not_printed(tmp_path, good, champion):
    head = HEAD.replace("id: row", "id: row\nsensitive: [origin]")
    judgement = run(tmp_path, SLICED, head=head, candidate=good, champion=champion)
    assert [row["slice"] for row in judgement.slices] == ["origin=#1", "origin=#2", "origin=#3"]


def test_guardrails_are_corrected_together():
    settled = []

    def guardrail(p_value):
        return Guardrail(p_value, lambda *answer: settled.append((p_value, *answer)))

    settle([guardrail(0.03), guardrail(0.02), guardrail(0.9)], alpha=0.05)
    assert settled == [(0.03, 0.06, 0.05, 3), (0.02, 0.06, 0.05, 3), (0.9, 0.9, 0.05, 3)]


def test_on_the_frozen_set_every_rule_is_a_guardrail(tmp_path, good, champion, bad):
    paths = write(tmp_path, candidate=good, champion=champion, bad=bad)
    sets = {
        "release": SetInput(candidate=paths["candidate"], champion=paths["champion"]),
        "regression": SetInput(candidate=paths["candidate"], champion=paths["champion"]),
    }
    gate = NOT_WORSE.replace("0.05", "0.02")
    assert judge(project(gate), sets, baseline=None).verdict == "blessed"
    # Too few rows to show that nothing is lost: enough for a guardrail, not for a requirement.
    few = write(tmp_path, few=good[:150], other=champion[:150])
    sets["regression"] = SetInput(candidate=few["few"], champion=few["other"])
    assert judge(project(gate), sets, baseline=None).verdict == "blessed"
    sets["regression"] = SetInput(candidate=paths["bad"], champion=paths["champion"])
    judgement = judge(project(gate), sets, baseline=None)
    assert judgement.verdict == "rejected"
    assert [item["name"] for item in judgement.checks if item["status"] == "fail"] == [
        "regression: roc_auc non_inferiority_margin"
    ]


def test_on_the_frozen_set_intervals_hold_together_and_losses_are_listed(tmp_path, good, champion):
    pair = SetInput(**write(tmp_path, candidate=good, champion=champion))
    gate = """metrics: {roc_auc: {threshold: 0.7, non_inferiority_margin: 0.2},
  log_loss: {non_inferiority_margin: 0.3}, accuracy: {non_inferiority_margin: 0.2}}"""
    judgement = judge(project(gate), {"release": pair, "regression": pair}, baseline=None)
    required, *_ = judgement.metrics
    frozen = next(row for row in judgement.metrics if row["set"] == "regression")
    width = {
        row["set"]: row["difference"]["high"] - row["difference"]["low"]
        for row in (required, frozen)
    }
    assert width["regression"] > 1.05 * width["release"]
    assert required["detectable_loss"] is None
    assert 0.2 < frozen["detectable_loss"] < 0.5


def test_few_groups_are_a_warning(tmp_path, good, champion):
    def warnings(groups):
        frames = {
            side: frame.with_columns(group=pl.col("id") % groups)
            for side, frame in (("candidate", good), ("champion", champion))
        }
        sets = {"release": SetInput(**write(tmp_path, **frames))}
        head = HEAD.replace("id: row", "id: row\ngroup: day")
        return judge(project(BOTH, head=head), sets, baseline=None).warnings

    assert any("has 29 groups" in text for text in warnings(29))
    assert not any("groups" in text for text in warnings(30))


def test_a_champion_is_needed_on_every_set_once_it_is_on_one(tmp_path, good, champion):
    paths = write(tmp_path, candidate=good, champion=champion)
    sets = {
        "release": SetInput(candidate=paths["candidate"], champion=paths["champion"]),
        "regression": SetInput(candidate=paths["candidate"]),
    }
    judgement = judge(project(f"bootstrap: allow\n{BOTH}"), sets, baseline=None)
    assert judgement.verdict == "rejected"
    assert "no predictions of it on regression" in reason(judgement)


def test_the_predicate_is_json_and_names_the_baseline(tmp_path, good, champion):
    baseline = {"alias": "champion", "version": "2", "run_id": "abc", "other": 1}
    judgement = run(tmp_path, SLICED, candidate=good, champion=champion, baseline=baseline)
    predicate = judgement.predicate(project(SLICED).config, baseline)
    text = json.dumps(evidence.json_safe(predicate), allow_nan=False)
    assert json.loads(text)["baseline"] == {"alias": "champion", "version": "2", "run_id": "abc"}
    assert predicate["evaluation"]["development"]["rows"] == 2000
    assert len(predicate["policy"]["digest"]) == 64


def test_the_policys_digest_follows_the_policy():
    first = decision.policy_digest(project(BOTH).config)
    assert first == decision.policy_digest(project(BOTH).config)
    assert first != decision.policy_digest(project(BOTH.replace("0.05", "0.06")).config)


def test_numbers_are_the_same_each_time(tmp_path, good, champion):
    gate = "metrics: {f1: {non_inferiority_margin: 0.05}}\nslices: [{columns: [origin]}]"
    first, second = (run(tmp_path, gate, candidate=good, champion=champion) for _ in range(2))
    assert first.metrics == second.metrics
    assert first.slices == second.slices


# --- The page ----------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def test_every_row_of_the_fail_closed_table_has_its_test():
    table = PAGE.read_text().partition("## Fail closed")[2].partition("\n## ")[0]
    rows_ = [line for line in table.splitlines() if line.startswith("| ")][2:]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_gate_*.py"))
    assert len(rows_) > 20
    for row in rows_:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert all(f"def {name}(" in tests for name in named), row


def test_the_pages_policy_is_one():
    example = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    assert set(config.parse(example, PAGE).config.gate.metrics) == {
        "roc_auc",
        "log_loss",
        "accuracy",
    }


def test_every_example_of_the_page_is_a_policy():
    page, found = PAGE.read_text(), []
    for table in re.findall(r"^\| Word .*\| Example \|\n(?:\|.*\n)+", page, re.MULTILINE):
        for row in table.splitlines()[2:]:
            example = row.rpartition("| `")[2].removesuffix("` |")
            keys = "slices: [{" if example.startswith("-") else "metrics: {"
            if example.startswith("-"):
                inner = example.removeprefix("- ").removeprefix("{").removesuffix("}")
                gate = f"{BOTH}\n{keys}{inner}}}]"
            else:
                gate = f"{keys}{example}}}"
            head = REGRESSION if "mean_absolute_error" in example else HEAD
            decision.choose(project(gate, head=head))
            found.append(example)
    for section in re.findall(r"^gate:\n(?:  .*\n)+", page, re.MULTILINE):
        gate = section.removeprefix("gate:\n").replace("\n  ", "\n").removeprefix("  ")
        if "metrics:" not in gate:
            gate = f"{BOTH}\n{gate}"
        decision.choose(project(gate))
        found.append(section)
    assert len(found) >= 13
