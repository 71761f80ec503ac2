"""The policy is tested before the verdict: nonsense, dead rules, what nobody would notice."""

import numpy as np
import polars as pl
import pytest
from gate_files import HEAD, answers, project, rows, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_actions.gate import damage, self_test, wear
from mlops_actions.gate.decision import SetInput, judge
from mlops_actions.gate.statistics.scored import Scored

SAFE = "metrics: {roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05}}"


@pytest.fixture(scope="module")
def frames():
    keys = rows(2000)
    return {"candidate": answers(keys, seed=1), "champion": answers(keys, seed=2)}


def run(folder, gate, frames, *, head=HEAD, **more):
    paths = write(folder, **frames)
    return judge(
        project(gate, head=head), {"development": SetInput(**paths)}, baseline=None, **more
    )


def noticed(judgement):
    return {item["name"]: item["noticed"] for item in judgement.self_test}


def reason(judgement):
    return " ".join(judgement.reasons)


def test_a_policy_that_sees_is_believed(tmp_path, frames):
    judgement = run(tmp_path, SAFE, frames)
    assert judgement.verdict == "blessed"
    found = noticed(judgement)
    assert found["answers permuted among all rows"]
    assert found["the same answer for every row"]
    assert found["answers that are not a number"]


@pytest.mark.parametrize(
    "gate",
    [
        "metrics: {roc_auc: {non_inferiority_margin: 0.6}}",
        "metrics: {accuracy: {threshold: 0.1}}",
        "metrics: {log_loss: {threshold: 5}}",
    ],
)
def test_a_policy_that_blesses_nonsense_rejects(tmp_path, frames, gate):
    judgement = run(tmp_path, gate, frames)
    assert judgement.verdict == "rejected"
    assert "would bless the same answer for every row" in reason(judgement)


def test_what_no_rule_would_notice_is_said(tmp_path, frames):
    judgement = run(tmp_path, SAFE, frames)
    for made in (
        "a copy of the target",
        "overconfident probabilities",
        "labels that contradict the probabilities",
    ):
        assert made in judgement.warnings[-1]
    assert judgement.warnings[-1].startswith("No rule would notice: ")
    strict = run(tmp_path, f"self_test: strict\n{SAFE}", frames)
    assert strict.verdict == "rejected"
    assert "No rule would notice a copy of the target" in reason(strict)


def test_strict_is_met_by_a_policy_that_looks_at_everything(tmp_path, frames):
    gate = """
self_test: strict
metrics:
  roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05, max_absolute_change: 0.05}
  log_loss: {non_inferiority_margin: 0.05}
  accuracy: {non_inferiority_margin: 0.05}
"""
    judgement = run(tmp_path, gate, frames)
    assert judgement.verdict == "blessed"
    assert all(noticed(judgement).values())


def test_a_limit_that_cannot_be_reached_is_a_dead_rule(tmp_path, frames):
    gate = SAFE.replace("0.05}", "0.05, max_absolute_change: 0.9}")
    judgement = run(tmp_path, gate, frames)
    assert judgement.verdict == "inconclusive"
    assert "would not notice a copy of the target" in reason(judgement)


def test_a_slice_is_destroyed_to_see_its_rule_work(tmp_path, frames):
    gate = f"{SAFE}\nslices: [{{columns: [origin]}}]"
    judgement = run(tmp_path, gate, frames)
    assert judgement.verdict == "blessed"
    names = [name for name in noticed(judgement) if name.startswith("answers permuted in origin=")]
    assert len(names) == 2
    blind = gate.replace("margin: 0.05", "margin: 0.9").replace("threshold: 0.7", "threshold: 0.8")
    judgement = run(tmp_path, blind, frames)
    assert judgement.verdict == "inconclusive"
    assert "would not notice answers permuted in origin=" in reason(judgement)


def test_fairness_must_see_a_group_that_gets_nothing(tmp_path, frames):
    def rule(bound):
        return f"{SAFE}\nfairness: [{{columns: [origin], demographic_parity_ratio: {bound}}}]"

    assert run(tmp_path, rule("{min: 0.5}"), frames).verdict == "blessed"
    judgement = run(tmp_path, rule("{min: 1.0e-9}"), frames)
    assert judgement.verdict == "inconclusive"
    assert "would not notice one answer for all of origin=" in reason(judgement)


def spoiled(judgement):
    found = noticed(judgement)
    return {name for name, seen in found.items() if "(" in name and not seen}


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("accuracy: {threshold: 0.01}", "spoiled answers (threshold of accuracy)"),
        (
            "accuracy: {non_inferiority_margin: 0.99}",
            "spoiled answers (non_inferiority_margin of accuracy)",
        ),
        (
            "accuracy: {max_absolute_change: 0.9}",
            "a copy of the target (max_absolute_change of accuracy)",
        ),
        (
            "loss_cost: {threshold: 1.0e9, greater_is_better: false}",
            "spoiled answers (threshold of loss_cost)",
        ),
    ],
)
def test_each_rule_must_see_by_itself(tmp_path, frames, rule, name):
    costly = {side: frame.with_columns(loss_cost=1.0) for side, frame in frames.items()}
    judgement = run(tmp_path, SAFE.replace("}}", f"}}, {rule}}}"), costly)
    assert spoiled(judgement) == {name}
    assert judgement.verdict == "inconclusive"
    assert f"would not notice {name}" in reason(judgement)


def test_what_is_bad_by_one_metric_may_be_good_by_another(tmp_path, frames):
    # Few positives are found. Turned round, these answers find most of them.
    shy = {
        side: frame.with_columns(
            prediction=(pl.col("probability_1") > 0.97).cast(pl.Int64),
        )
        for side, frame in frames.items()
    }
    judgement = run(tmp_path, SAFE.replace("}}", "}, recall: {threshold: 0.05}}"), shy)
    assert judgement.verdict == "blessed", judgement.reasons


def test_the_anchor_and_the_frozen_set_have_mutants_too(tmp_path, frames):
    def sets(**changed):
        paths = write(tmp_path, **frames, anchor=frames["champion"])
        (tmp_path / "frozen").mkdir(exist_ok=True)
        other = {side: frame.with_columns(**changed) for side, frame in frames.items()}
        frozen = SetInput(**write(tmp_path / "frozen", **other))
        both = {"release": SetInput(**paths), "regression": frozen}
        return judge(project(SAFE), both, baseline=None)

    judgement = sets()
    assert judgement.verdict == "blessed"
    assert "spoiled answers (anchor of roc_auc)" in noticed(judgement)
    on_frozen = "spoiled answers (non_inferiority_margin of roc_auc on the set regression)"
    assert on_frozen in noticed(judgement)
    chance = pl.Series(np.random.default_rng(0).integers(0, 2, 2000))
    assert spoiled(sets(target=chance)) == {on_frozen}  # Where nobody knows, nothing is worse.


def test_each_rule_of_fairness_must_see(tmp_path, frames):
    def rule(words):
        return f"{SAFE}\nfairness: [{{columns: [origin], {words}}}]"

    alive = "demographic_parity_ratio: {min: 0.5, non_inferiority_margin: 0.3}"
    alive += ", equalized_odds_difference: {max: 0.2}, ratio: {accuracy: {min: 0.7}}"
    judgement = run(tmp_path, rule(alive), frames)
    assert judgement.verdict == "blessed", judgement.reasons
    assert sum(name.startswith("one answer for all of") for name in noticed(judgement)) == 4
    for dead in (
        alive.replace("min: 0.7", "min: 1.0e-9"),
        alive.replace("margin: 0.3", "margin: 0.999"),
        alive.replace("max: 0.2", "max: 1.5"),
    ):
        judgement = run(tmp_path, rule(dead), frames)
        assert judgement.verdict == "inconclusive"
        assert len(spoiled(judgement)) == 1


def test_a_regressions_damage(tmp_path):
    head = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")
    random = np.random.default_rng(0)
    target = random.normal(size=2000)
    base = pl.DataFrame({"id": range(2000), "target": target})
    frames = {
        name: base.with_columns(prediction=pl.Series(target + 0.3 * random.normal(size=2000)))
        for name in ("candidate", "champion")
    }
    gate = "metrics: {median_absolute_error: {threshold: 0.5, non_inferiority_margin: 0.1}}"
    judgement = run(tmp_path, gate, frames, head=head)
    assert judgement.verdict == "blessed"
    assert noticed(judgement)["a constant shift of all answers"]
    assert not noticed(judgement)["rare large errors"]
    gate = gate.replace("}}", "}, r2: {non_inferiority_margin: 0.05}}")
    assert noticed(run(tmp_path, gate, frames, head=head))["rare large errors"]


def test_own_losses_cannot_be_made_up(tmp_path, frames):
    random = np.random.default_rng(0)
    costly = {
        name: frame.with_columns(loss_cost=pl.Series(random.random(frame.height)))
        for name, frame in frames.items()
    }
    gate = "metrics: {loss_cost: {non_inferiority_margin: 0.2, greater_is_better: false}}"
    judgement = run(tmp_path, gate, costly)
    assert judgement.verdict == "blessed"
    assert any("your own losses cannot be made" in text for text in judgement.warnings)


SCORED = Scored(
    target=np.array([0, 1, 1, 0, 2, 2]),
    prediction=np.array([0, 1, 2, 0, 2, 1]),
    probability=np.eye(3)[[0, 1, 2, 0, 2, 1]] * 0.7 + 0.1,
    labels=("a", "b", "c"),
    losses={"cost": np.arange(6.0)},
    quantiles={0.5: np.arange(6.0)},
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.sets(st.integers(0, 5)), seed=st.integers(0, 99))
def test_permuting_keeps_answers_together_and_others_where_they_are(places, seed):
    rows = np.array(sorted(places), dtype=np.int64)
    made = damage.permuted(SCORED, rows, seed)
    others = np.setdiff1d(np.arange(6), rows)
    assert np.array_equal(made.prediction[others], SCORED.prediction[others])
    assert sorted(made.losses["cost"]) == sorted(SCORED.losses["cost"])
    assert np.array_equal(made.probability.argmax(axis=1), made.prediction)
    assert np.array_equal(made.target, SCORED.target)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_large_set_is_judged_by_a_sample_and_only_then_in_whole(tmp_path, grouped, monkeypatch):
    monkeypatch.setattr(self_test, "MOST_ROWS", 300)
    monkeypatch.setattr(self_test, "FEWEST_GROUPS", 10)
    keys = rows(3000).with_columns(group=pl.col("id") % 60)
    frames = {"candidate": answers(keys, seed=1), "champion": answers(keys, seed=2)}
    head = HEAD.replace("id: row", "id: row\ngroup: day") if grouped else HEAD
    gate = f"""
{SAFE.replace("0.05", "0.12")}
slices: [{{columns: [origin]}}]
fairness: [{{columns: [origin], demographic_parity_ratio: {{min: 0.5}}}}]
"""
    sizes = []
    measure = self_test.rows.measure

    def watch(found, terms):
        sizes.extend(len(row.paired) for row in found)
        measure(found, terms)

    monkeypatch.setattr(self_test.rows, "measure", watch)
    judgement = run(tmp_path, gate, frames, head=head)
    assert judgement.verdict == "blessed"
    assert max(sizes) == 3000  # The verdict's own rows.
    assert min(sizes) < 700
    assert all(item["noticed"] for item in judgement.self_test if item["kind"] != "damage")


def test_mutants_are_valid_answers():
    everyone = np.arange(6)
    for made in (
        damage.constant(SCORED),
        damage.copied(SCORED),
        damage.sharpened(SCORED),
        damage.relabelled(SCORED),
        damage.worst(SCORED, everyone),
    ):
        assert made.probabilities().shape == (6, 3)
        assert made.answers().shape == (6,)
    assert np.array_equal(damage.sharpened(SCORED).prediction, SCORED.prediction)


# --- Wear --------------------------------------------------------------------------------------


def test_all_verdicts_together_spend_alpha_once():
    spent = sum(1 - wear.confidence(0.95, verdict) for verdict in range(1, 10_000))
    assert 0.0499 < spent < 0.05
    assert wear.confidence(0.95, 1) == pytest.approx(1 - 0.05 * 6 / np.pi**2)


def test_a_worn_set_asks_for_more_and_ends(tmp_path, frames):
    first = run(tmp_path, SAFE, frames, earlier=0)
    tenth = run(tmp_path, SAFE, frames, earlier=9)

    def width(judgement):
        found = judgement.metrics[0]["difference"]
        return found["high"] - found["low"]

    assert width(run(tmp_path, SAFE, frames)) < width(first) < width(tenth)
    assert tenth.policy["verdict"] == 10
    gate = f"max_verdicts: 9\n{SAFE}"
    assert run(tmp_path, gate, frames, earlier=8).verdict == "blessed"
    worn = run(tmp_path, gate, frames, earlier=9)
    assert worn.verdict == "inconclusive"
    assert "it is worn out" in reason(worn)


def test_a_worn_set_makes_no_guardrail_laxer(tmp_path):
    keys = rows(3000)
    champion = answers(keys, seed=2)
    worse = answers(keys, noise=2.5, seed=5)
    mixed = pl.concat(
        [answers(keys, seed=1).filter(pl.col("origin") != "JFK"), worse.filter(origin="JFK")]
    ).sort("id")
    gate = (
        "metrics: {accuracy: {threshold: 0.6, non_inferiority_margin: 0.05}}\n"
        "slices: [{columns: [origin]}]"
    )
    pair = {"candidate": mixed, "champion": champion}
    fresh, worn = (run(tmp_path, gate, pair, earlier=count) for count in (0, 199))

    def guarded(judgement):
        return [item for item in judgement.checks if "adjusted_p_value" in item]

    def said(judgement):
        return [(item["name"], item["status"]) for item in guarded(judgement)]

    assert said(fresh) == said(worn)
    (failed,) = [item for item in guarded(worn) if item["status"] == "fail"]
    assert failed["adjusted_p_value"] > 1 - worn.policy["level"]  # The worn level would miss it.
    noticed = [mutant["noticed"] for mutant in fresh.self_test if "permuted in" in mutant["name"]]
    assert noticed == [
        mutant["noticed"] for mutant in worn.self_test if "permuted in" in mutant["name"]
    ]


# --- Anchor ------------------------------------------------------------------------------------


def test_not_worse_than_the_anchor_either(tmp_path, frames):
    keys = rows(2000)
    slightly_worse = answers(keys, noise=1.2, seed=5)
    gate = SAFE.replace("0.05", "0.02")
    pair = {"candidate": slightly_worse, "champion": answers(keys, noise=1.2, seed=6)}
    gate = gate.replace("0.02", "0.03")
    assert run(tmp_path, gate, pair).verdict == "blessed"
    anchored = run(tmp_path, gate, pair | {"anchor": frames["champion"]})
    assert anchored.verdict == "rejected"
    assert "roc_auc against the anchor changed by -" in reason(anchored)


# --- What guardrails would notice --------------------------------------------------------------


def test_a_guardrail_that_would_miss_too_much_is_inconclusive(tmp_path, frames):
    gate = f"{SAFE}\nslices: [{{columns: [origin]}}]"
    judgement = run(tmp_path, gate, frames)
    noticed_from = [row["detectable_loss"] for row in judgement.slices]
    assert all(value > 0.05 for value in noticed_from)
    least = max(noticed_from)
    for most, verdict in ((least * 1.01, "blessed"), (least * 0.5, "inconclusive")):
        asked = gate.replace("0.05}", f"0.05, max_undetectable_loss: {most}}}")
        judgement = run(tmp_path, asked, frames)
        assert judgement.verdict == verdict
    assert "would be noticed from" in reason(judgement)


def test_intervals_of_guardrails_are_wider_than_alone(tmp_path, frames):
    alone = run(tmp_path, f"{SAFE}\nslices: [{{columns: [origin], require: true}}]", frames)
    together = run(tmp_path, f"{SAFE}\nslices: [{{columns: [origin]}}]", frames)
    for one, all_ in zip(alone.slices, together.slices, strict=True):
        assert one["difference"]["estimate"] == all_["difference"]["estimate"]
        assert all_["difference"]["low"] < one["difference"]["low"]
        assert one["candidate"] == all_["candidate"]


# --- Calibration -------------------------------------------------------------------------------


def test_calibration_is_reported(tmp_path, frames):
    sure = frames["candidate"].with_columns(
        probability_1=pl.when(pl.col("probability_1") > 0.5).then(0.999).otherwise(0.001)
    )
    sure = sure.with_columns(probability_0=1 - pl.col("probability_1"))
    candidate, champion = run(
        tmp_path, SAFE.replace("0.05", "0.2"), {**frames, "candidate": sure}
    ).calibration
    assert (candidate["model"], champion["model"]) == ("candidate", "champion")
    assert candidate["expected_calibration_error"] > 0.1
    assert champion["expected_calibration_error"] < 0.1
    assert sum(part["rows"] for part in champion["bins"]) == 2000
    assert len(champion["bins"]) == 10


def test_residuals_of_a_regression_are_shown(tmp_path, frames):
    assert run(tmp_path, SAFE, frames).residuals == []
    head = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")
    random = np.random.default_rng(0)
    said, missed = random.normal(size=2000), random.exponential(size=2000)
    base = pl.DataFrame({"id": range(2000), "target": said + missed, "prediction": said})
    champion = base.with_columns(prediction=pl.col("prediction") + 0.2)
    gate = "metrics: {r2: {non_inferiority_margin: 0.5}}"
    judgement = run(tmp_path, gate, {"candidate": base, "champion": champion}, head=head)
    mine, other = judgement.residuals
    assert (mine["model"], other["model"]) == ("candidate", "champion")
    assert sum(part["rows"] for part in mine["bins"]) == 2000
    for part, same in zip(mine["bins"], other["bins"], strict=True):
        assert part["median"] == pytest.approx(np.log(2), abs=0.35)
        assert part["low"] < part["median"] < part["high"]
        assert same["median"] == pytest.approx(part["median"] - 0.2)
    assert sum(mine["histogram"]["shares"]) == pytest.approx(1)
    assert mine["histogram"]["edges"] == other["histogram"]["edges"]
    alone = run(tmp_path, f"{gate}\nbootstrap: allow", {"candidate": base}, head=head)
    assert [item["model"] for item in alone.residuals] == ["candidate"]


def test_a_group_that_a_sample_leaves_out_is_found_in_the_whole_set(tmp_path):
    """One giant unit holds all of the largest group, and is in no sample of the set."""
    giant, small = 20_000, 60_000
    keys = rows(giant + small)
    who = pl.Series(["a"] * giant + ["b", "c", "d", "e"] * (small // 4))
    unit = pl.Series([0] * giant + [1 + place // 4 for place in range(small)])
    frames = {
        name: answers(keys, seed=seed).with_columns(who=who, group=unit)
        for name, seed in (("candidate", 1), ("champion", 2))
    }
    head = HEAD.replace("id: row", "id: row\ngroup: unit")
    gate = f"{SAFE}\nfairness: [{{columns: [who], demographic_parity_ratio: {{min: 0.7}}}}]"
    for seed in range(3):
        judgement = run(tmp_path, f"{gate}\nseed: {seed}", frames, head=head)
        denied = [name for name in noticed(judgement) if "all of who=a" in name]
        assert len(denied) == 1


def test_an_endless_series_of_verdicts_keeps_a_level_below_one():
    assert wear.confidence(0.95, 10**9) < 1
