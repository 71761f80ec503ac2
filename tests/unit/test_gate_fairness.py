"""Fairness: fairlearn's numbers, and violations shown by pairs of groups."""

import numpy as np
import polars as pl
import pytest
from gate_files import HEAD, project, write

from mlops_actions.config import Fairness
from mlops_actions.errors import ConfigurationError
from mlops_actions.gate import fairness
from mlops_actions.gate.decision import SetInput, judge

BASE = "metrics: {accuracy: {threshold: 0.55}}\n"


def people(count=3000, shares=(0.5, 0.5, 0.5), seed=0, group="abc"):
    """Make people whose answers are positive with a share that depends on their group."""
    random = np.random.default_rng(seed)
    places = random.integers(0, len(shares), count)
    target = random.random(count) < 0.5
    says = random.random(count) < np.where(target, 0.3, -0.3) + np.array(shares)[places]
    return pl.DataFrame(
        {
            "id": np.arange(count),
            "target": target.astype(np.int64),
            "prediction": says.astype(np.int64),
            "who": [group[place] for place in places],
        }
    )


def run(folder, rule, candidate, champion=None, *, head=HEAD, more=""):
    champion = people(seed=0, shares=(0.5,) * 3) if champion is None else champion
    champion = candidate.with_columns(champion["prediction"])
    paths = write(folder, candidate=candidate, champion=champion)
    gate = f"{BASE}{more}fairness: [{{columns: [who], {rule}}}]"
    return judge(project(gate, head=head), {"development": SetInput(**paths)}, baseline=None)


def share(frame, value, *where):
    return frame.filter(pl.col("who") == value, *where)["prediction"].mean()


@pytest.mark.parametrize(
    ("rule", "head", "said"),
    [
        ("ratio: {neg_log_loss: {min: 0.8}}", HEAD, "name log_loss"),
        (
            "demographic_parity_ratio: {min: 0.8}",
            HEAD.replace("[0, 1]", "[0, 1, 2]"),
            "needs positive_label, since there are 3 labels",
        ),
    ],
)
def test_what_would_say_nothing_is_refused(rule, head, said):
    loaded = project(f"{BASE}fairness: [{{columns: [who], {rule}}}]", head=head)
    with pytest.raises(ConfigurationError, match=said):
        fairness.wanted(loaded)


def test_the_numbers_are_fairlearns(tmp_path):
    frame = people(shares=(0.4, 0.5, 0.6))
    rule = "demographic_parity_ratio: {min: 0.1}, equalized_odds_difference: {max: 0.9}"
    rows = {row["rule"]: row for row in run(tmp_path, rule, frame).fairness}
    rates = [share(frame, who) for who in "abc"]
    parity = rows["demographic_parity_ratio"]
    assert parity["candidate"]["estimate"] == pytest.approx(min(rates) / max(rates))
    assert [group["selection_rate"] for group in parity["groups"]] == pytest.approx(rates)
    gaps = [
        np.ptp([share(frame, who, pl.col("target") == truth) for who in "abc"]) for truth in (0, 1)
    ]
    odds = rows["equalized_odds_difference"]
    assert odds["candidate"]["estimate"] == pytest.approx(max(gaps))
    for row in rows.values():
        assert row["status"] == "pass"
        assert row["candidate"]["low"] <= row["candidate"]["estimate"] <= row["candidate"]["high"]


@pytest.mark.parametrize(
    "rule",
    [
        "demographic_parity_ratio: {min: 0.8}",
        "equalized_odds_difference: {max: 0.1}",
        "difference: {selection_rate: {max: 0.1}}",
        "ratio: {selection_rate: {min: 0.8}}",
        "demographic_parity_ratio: {non_inferiority_margin: 0.05}",
        "equalized_odds_difference: {non_inferiority_margin: 0.05}",
    ],
)
def test_groups_far_apart_are_rejected_and_equal_ones_are_not(tmp_path, rule):
    judgement = run(tmp_path, rule, people(shares=(0.4, 0.5, 0.65), seed=1))
    assert judgement.verdict == "rejected"
    assert "who=a and who=c lie too far apart" in " ".join(judgement.reasons)
    assert run(tmp_path, rule, people(shares=(0.5, 0.5, 0.5), seed=2)).verdict == "blessed"


def test_against_the_champion_only_growth_counts(tmp_path):
    far = people(shares=(0.4, 0.5, 0.65), seed=1)
    rule = "demographic_parity_ratio: {non_inferiority_margin: 0.05}"
    as_far = people(shares=(0.4, 0.5, 0.65), seed=1).with_columns(
        prediction=pl.when(pl.col("id") % 50 == 0)
        .then(1 - pl.col("prediction"))
        .otherwise("prediction")
    )
    assert run(tmp_path, rule, far, as_far).verdict == "blessed"
    # A champion that favoured the other side just as much is no excuse, and no growth either.
    turned = people(shares=(0.65, 0.5, 0.4), seed=1)
    failed = {item["status"] for item in run(tmp_path, rule, far, turned).checks}
    assert "fail" not in failed


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [("difference: {selection_rate: {max: 0.1", 0.1), ("ratio: {selection_rate: {min: 0.8", 0.2)],
)
def test_the_smallest_gap_that_would_be_noticed_is_listed(tmp_path, rule, allowed):
    gaps = {}
    for count in (900, 9000):
        judgement = run(tmp_path, f"{rule}}}}}", people(count), people(count, seed=5))
        (item,) = (item for item in judgement.checks if item.get("rule") == "fairness")
        gaps[count] = item["detectable_loss"] - allowed
        assert judgement.fairness[0]["detectable_loss"] == item["detectable_loss"]
    assert gaps[900] / gaps[9000] == pytest.approx(np.sqrt(10), rel=0.1)
    asked = f"{rule}, max_undetectable_loss: {allowed + gaps[9000] * 2}}}}}"
    assert run(tmp_path, asked, people(9000), people(9000, seed=5)).verdict == "blessed"
    judgement = run(tmp_path, asked, people(900), people(900, seed=5))
    assert judgement.verdict == "inconclusive"
    assert "a gap would be noticed from" in " ".join(judgement.reasons)


def test_a_gap_of_that_size_is_noticed_in_eight_of_ten():
    test = fairness._Tested(pair=(0, 1), p_value=1.0, error=0.02, degrees=np.inf)
    truth = test.noticed(0.1, alpha=0.01)
    seen = np.random.default_rng(0).normal(truth, test.error, 100_000)
    shown = [fairness._tail(gap - 0.1, test.error**2, np.inf) <= 0.01 for gap in seen[:20_000]]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.01)


def test_equal_groups_are_seldom_rejected(tmp_path):
    rule = "difference: {selection_rate: {max: 0.0001}}"
    rejected = 0
    for seed in range(60):
        candidate = people(900, seed=seed)
        judgement = run(tmp_path, rule, candidate, candidate.with_columns(prediction=pl.lit(1)))
        rejected += any(
            item["status"] == "fail" and item.get("rule") == "fairness" for item in judgement.checks
        )
    assert rejected <= 7  # 5 % of 60 is 3; more than 7 has a chance below 2 %.


def test_groups_that_cannot_be_judged_leave_it_open(tmp_path):
    frame = people()
    rule = "difference: {recall: {max: 0.5}}"
    one = frame.with_columns(who=pl.lit("a"))
    judgement = run(tmp_path, rule, one, people(seed=7))
    assert judgement.verdict == "inconclusive"
    assert "1 groups have enough rows" in " ".join(judgement.reasons)
    empty = frame.with_columns(target=pl.when(pl.col("who") == "a").then(0).otherwise("target"))
    paths = write(tmp_path, candidate=empty, champion=empty.with_columns(prediction=1))
    gate = f"{BASE}fairness: [{{columns: [who], {rule}}}]"
    judgement = judge(project(gate), {"development": SetInput(**paths)}, baseline=None)
    assert "recall on who=a is undefined" in " ".join(
        item.get("message", "") for item in judgement.checks
    )
    assert judgement.verdict != "blessed"


def test_small_groups_are_listed(tmp_path):
    frame = people().with_columns(who=pl.when(pl.col("id") < 9).then(pl.lit("z")).otherwise("who"))
    (row,) = run(tmp_path, "difference: {accuracy: {max: 0.5}}", frame).fairness
    assert row["small"] == [{"name": "who=z", "rows": 9}]
    assert len(row["groups"]) == 3


def test_a_regression_may_ask_for_equal_errors(tmp_path):
    head = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")
    random = np.random.default_rng(0)
    who = random.choice(["a", "b"], 2000)
    target = random.normal(size=2000)
    error = random.normal(size=2000) * np.where(who == "a", 0.1, 0.5)
    frame = pl.DataFrame({"id": range(2000), "target": target, "who": who})
    frame = frame.with_columns(prediction=pl.Series(target + error))
    equal = frame.with_columns(prediction=pl.Series(target + 0.3 * random.normal(size=2000)))
    gate = """
metrics: {r2: {threshold: 0.5}}
fairness: [{columns: [who], difference: {mean_absolute_error: {max: 0.1}}}]
"""
    for candidate, champion, verdict in ((frame, equal, "rejected"), (equal, frame, "blessed")):
        paths = write(tmp_path, candidate=candidate, champion=champion)
        sets = {"development": SetInput(**paths)}
        assert judge(project(gate, head=head), sets, baseline=None).verdict == verdict


def test_a_policy_that_asks_nothing_or_the_impossible_is_refused():
    with pytest.raises(ConfigurationError, match="must ask for something"):
        project(f"{BASE}fairness: [{{columns: [who]}}]")
    with pytest.raises(ConfigurationError, match="needs max or"):
        project(f"{BASE}fairness: [{{columns: [who], difference: {{recall: {{}}}}}}]")
    three = HEAD.replace("[0, 1]", "[0, 1, 2]")
    rule = "equalized_odds_difference: {max: 0.1}"
    loaded = project(f"{BASE}fairness: [{{columns: [who], {rule}}}]", head=three)
    with pytest.raises(ConfigurationError, match="needs two labels") as caught:
        judge(loaded, {}, baseline=None)
    assert caught.value.line == 9
    assert Fairness(columns=["a"], ratio={"recall": {"min": 0.8}}).ratio["recall"].min == 0.8
