"""Paired intervals: known answers, references, and what must not change them."""

import importlib
import json
import pickle
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm

from mlops_actions.gate.statistics import delong, tables
from mlops_actions.gate.statistics.comparison import compare
from mlops_actions.gate.statistics.intervals import Influence, Knots, Student, Unvarying, spread
from mlops_actions.gate.statistics.metrics import Scored, Undefined, lookup
from mlops_actions.gate.statistics.multiplicity import (
    correlation,
    critical_score,
    detectable_loss,
    holm,
    pairwise,
    simultaneous,
)
from mlops_actions.gate.statistics.sample import Sample

REFERENCES = Path(__file__).with_name("references")
CLASSIFICATION = (
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier_score",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "f1_macro",
    "precision",
    "recall",
    "matthews_corrcoef",
)
REGRESSION = ("mean_absolute_error", "root_mean_squared_error", "r2", "median_absolute_error")


def classifiers(rows=400, share=0.3, seed=0, *, groups=0, weighted=False, height=(1.7, 1.3)):
    """Two correlated models of a binary target, with ties."""
    random = np.random.default_rng(seed)
    target = (random.random(rows) < share).astype(int)
    target[:4] = [0, 1, 0, 1]
    common = random.normal(size=rows)
    sides = []
    for h in height:
        score = 0.9 * common + 0.4 * random.normal(size=rows) + h * target
        positive = np.round(1 / (1 + np.exp(-h * (score - h / 2)) * (1 - share) / share), 3)
        sides.append(np.stack([1 - positive, positive], axis=1))
    group = random.integers(0, groups, rows) if groups else None
    weight = random.integers(1, 5, rows).astype(float) if weighted else None
    return tuple(
        Scored(
            target=target,
            prediction=(p[:, 1] > 0.5).astype(int),
            probability=p,
            labels=(0, 1),
            group=group,
            weight=weight,
        )
        for p in sides
    )


def regressors(rows=400, seed=0, *, groups=0, weighted=False):
    random = np.random.default_rng(seed)
    target = 100 + 10 * random.normal(size=rows)
    common = random.normal(size=rows)
    group = random.integers(0, groups, rows) if groups else None
    weight = random.integers(1, 5, rows).astype(float) if weighted else None
    return tuple(
        Scored(
            target=target,
            prediction=target + size * (common + 0.5 * random.normal(size=rows)),
            group=group,
            weight=weight,
        )
        for size in (2.0, 2.3)
    )


def replaced(scored, **columns):
    names = ("target", "prediction", "probability", "labels", "positive", "weight", "group")
    return Scored(**({name: getattr(scored, name) for name in names} | columns))


def every(names=CLASSIFICATION + REGRESSION):
    for name in names:
        task = "regression" if name in REGRESSION else "classification"
        yield lookup(name, task), regressors if name in REGRESSION else classifiers


def bounds(estimate):
    return np.array([estimate.low, estimate.high])


# --- Known answers -----------------------------------------------------------------------------


def delong_by_definition(target, candidate, champion):
    """DeLong's variance of the difference from all pairs, O(m n)."""
    components = []
    for score in (candidate, champion):
        up, down = score[target == 1][:, None], score[target == 0][None, :]
        wins = (up > down) + 0.5 * (up == down)
        components.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    (a, up_a, down_a), (b, up_b, down_b) = components
    return a - b, np.var(up_a - up_b, ddof=1) / len(up_a) + np.var(down_a - down_b, ddof=1) / len(
        down_a
    )


def test_roc_auc_is_delongs():
    candidate, champion = classifiers()
    number, variance = delong_by_definition(
        candidate.target, candidate.probability[:, 1], champion.probability[:, 1]
    )
    difference = compare(lookup("roc_auc", "classification"), candidate, champion).difference
    assert difference.method == "DeLong"
    assert difference.estimate == pytest.approx(number, abs=1e-14)
    assert difference.standard_error == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_grouped_roc_auc_is_obuchowskis_for_groups_of_one_size():
    candidate, champion = classifiers(rows=400)
    # Each group has the same number of positives and of negatives.
    order = np.argsort(candidate.target, kind="stable")
    positives = int(candidate.target.sum()) // 10 * 10
    negatives = (400 - int(candidate.target.sum())) // 10 * 10
    keep = np.concatenate([order[:negatives], order[-positives:]])
    group = np.concatenate([np.arange(negatives) % 10, np.arange(positives) % 10])
    target = candidate.target[keep]
    sides = [
        replaced(
            side,
            target=target,
            prediction=side.prediction[keep],
            probability=side.probability[keep],
            group=group,
        )
        for side in (candidate, champion)
    ]
    parts = []
    for side in sides:
        score = side.probability[:, 1]
        up, down = score[target == 1][:, None], score[target == 0][None, :]
        wins = (up > down) + 0.5 * (up == down)
        parts.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    (a, up_a, down_a), (b, up_b, down_b) = parts
    ups = np.bincount(group[target == 1], up_a - up_b - (a - b))
    downs = np.bincount(group[target == 0], down_a - down_b - (a - b))
    m, n = up_a.size, down_a.size
    expected = 10 / 9 * (ups @ ups / m**2 + downs @ downs / n**2 + 2 * (ups @ downs) / (m * n))
    difference = compare(lookup("roc_auc", "classification"), *sides).difference
    assert difference.method == "Obuchowski"
    assert difference.standard_error == pytest.approx(np.sqrt(expected), rel=1e-10)


def test_a_share_has_jeffreys_interval():
    candidate, _ = classifiers()
    right = int((candidate.prediction == candidate.target).sum())
    low, high = beta.ppf([0.025, 0.975], right + 0.5, 400 - right + 0.5)
    found = compare(lookup("accuracy", "classification"), candidate, resamples=200_000).candidate
    assert bounds(found) == pytest.approx([low, high], abs=3e-4)


def test_paired_table_has_half_a_count_a_cell():
    """The difference of two accuracies has a known mean and variance over the table."""
    candidate, champion = classifiers()
    right = [(s.prediction == s.target) for s in (candidate, champion)]
    counts = np.array([[(right[0] == i) & (right[1] == j) for j in (0, 1)] for i in (0, 1)]).sum(
        axis=-1
    )
    parameters = counts + 0.5
    total = parameters.sum()
    gained, lost = parameters[1, 0] / total, parameters[0, 1] / total
    variance = (gained + lost - (gained - lost) ** 2) / (total + 1)
    found = compare(
        lookup("accuracy", "classification"), candidate, champion, resamples=200_000
    ).difference
    assert found.standard_error == pytest.approx(np.sqrt(variance), rel=0.01)
    assert found.estimate == pytest.approx((counts[1, 0] - counts[0, 1]) / 400)


def test_skewness_moves_the_interval_of_a_mean_towards_the_long_tail():
    random = np.random.default_rng(1)
    scored = Scored(target=np.zeros(400), losses={"cost": random.exponential(size=400)})
    found = compare(lookup("loss_cost", "regression"), scored).candidate
    assert found.method == "ABC"
    # Johnson's correction of Student's t, to first order: both bounds move up by the same amount.
    values = scored.losses["cost"]
    error = values.std(ddof=1) / 20
    skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    move = skew * error * (1 + 2 * 1.96**2) / 6 / 20
    middle = (found.low + found.high) / 2 - values.mean()
    assert middle == pytest.approx(move, rel=0.08)


@pytest.mark.parametrize("side", ["candidate", "difference"])
def test_intervals_agree_with_scipys_bca(side):
    sys.path.insert(0, str(REFERENCES))
    try:
        import make_bca
    finally:
        sys.path.pop(0)
    stored = json.loads((REFERENCES / "bca.json").read_text("utf-8"))
    target, *models = make_bca.classification()
    classification = [
        Scored(
            target=target,
            prediction=(p > 0.5).astype(int),
            probability=np.stack([1 - p, p], axis=1),
            labels=(0, 1),
        )
        for p in models
    ]
    target, *models = make_bca.regression()
    regression = [Scored(target=target, prediction=p) for p in models]
    for name, interval in stored["intervals"].items():
        task = "regression" if hasattr(regression[0], name) or _is_regression(name) else ""
        metric = lookup(name, task or "classification")
        sides = regression if task else classification
        found = getattr(compare(metric, *sides, resamples=50_000), side)
        low, high = interval[side]
        assert np.abs(bounds(found) - [low, high]).max() <= 0.05 * (high - low), name


def _is_regression(name):
    return name in {*REGRESSION, "mean_absolute_percentage_error"}


# --- What must not change an interval ----------------------------------------------------------


@pytest.mark.parametrize(("groups", "weighted"), list(product((0, 30), (False, True))))
def test_a_slice_is_the_same_as_its_rows_alone(groups, weighted):
    for metric, make in every():
        sides = make(groups=groups, weighted=weighted, seed=3)
        rows = np.flatnonzero(np.random.default_rng(1).random(400) < 0.6)
        compare(metric, *sides)  # What is kept of the whole set must not leak into the slice.
        inside = compare(metric, *sides, rows=rows)
        alone = [
            replaced(
                side,
                target=side.target[rows],
                prediction=side.prediction[rows],
                probability=None if side.probability is None else side.probability[rows],
                weight=None if side.weight is None else side.weight[rows],
                group=None if side.group is None else side.group[rows],
            )
            for side in sides
        ]
        expected = compare(metric, *alone)
        for part in ("candidate", "champion", "difference"):
            found, other = getattr(inside, part), getattr(expected, part)
            assert found.estimate == pytest.approx(other.estimate), metric.name
            assert bounds(found) == pytest.approx(bounds(other)), metric.name
        mask = np.zeros(400, dtype=bool)
        mask[rows] = True
        assert compare(metric, *sides, rows=mask).difference.low == inside.difference.low


def test_rows_in_groups_of_one_are_independent_rows():
    for metric, make in every():
        sides = make(seed=5)
        plain = compare(metric, *sides).difference
        grouped = compare(
            metric, *(replaced(side, group=np.arange(400)) for side in sides)
        ).difference
        assert grouped.estimate == plain.estimate
        width = plain.high - plain.low
        assert np.abs(bounds(grouped) - bounds(plain)).max() < 0.04 * width, metric.name


def test_repeated_rows_in_one_group_add_nothing():
    for metric, make in every():
        sides = make(seed=6, groups=0)
        grouped = [replaced(side, group=np.arange(400)) for side in sides]
        doubled = [
            replaced(
                side,
                target=np.repeat(side.target, 3),
                prediction=np.repeat(side.prediction, 3),
                probability=None
                if side.probability is None
                else np.repeat(side.probability, 3, axis=0),
                group=np.repeat(np.arange(400), 3),
            )
            for side in sides
        ]
        once, thrice = (compare(metric, *pair).difference for pair in (grouped, doubled))
        width = once.high - once.low
        assert thrice.estimate == pytest.approx(once.estimate)
        if metric.name != "median_absolute_error":  # Its density estimate sees all rows.
            assert np.abs(bounds(thrice) - bounds(once)).max() < 0.05 * width, metric.name


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-6, 1e6))
def test_only_ratios_of_weights_count(seed, factor):
    for metric, make in every():
        sides = make(seed=seed, weighted=True)
        scaled = [replaced(side, weight=side.weight * factor) for side in sides]
        found, expected = (compare(metric, *pair) for pair in (scaled, sides))
        assert found.difference.estimate == pytest.approx(expected.difference.estimate)
        # Rounding may change single draws.
        width = expected.difference.high - expected.difference.low
        assert bounds(found.difference) == pytest.approx(
            bounds(expected.difference), abs=0.06 * width
        ), metric.name


def test_equal_weights_are_no_weights():
    for metric, make in every():
        sides = make()
        weighted = [replaced(side, weight=np.full(400, 2.5)) for side in sides]
        assert bounds(compare(metric, *weighted).difference) == pytest.approx(
            bounds(compare(metric, *sides).difference), rel=1e-12
        )


def test_rows_without_weight_do_not_count():
    for metric, make in every():
        sides = make(seed=8, weighted=True)
        keep = np.arange(400) % 4 != 0
        weight = np.where(keep, sides[0].weight, 0)
        zeroed = [replaced(side, weight=weight) for side in sides]
        found = compare(metric, *zeroed).difference
        expected = compare(metric, *sides, rows=keep).difference
        assert found.estimate == pytest.approx(expected.estimate, abs=1e-12), metric.name
        assert found.standard_error == pytest.approx(expected.standard_error, rel=0.05)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_exchanging_the_models_turns_the_difference(seed):
    for metric, make in every():
        one, two = make(seed=seed, groups=20 * (seed % 2))
        there = compare(metric, one, two).difference
        back = compare(metric, two, one).difference
        assert back.estimate == pytest.approx(-there.estimate, abs=1e-12)
        width = there.high - there.low
        assert back.low == pytest.approx(-there.high, abs=0.08 * width), metric.name


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_count(seed):
    order = np.random.default_rng(seed).permutation(400)
    for metric, make in every():
        sides = make(seed=seed, groups=25, weighted=True)
        found = compare(metric, *sides, rows=order, resamples=1000).difference
        expected = compare(metric, *sides, resamples=1000).difference
        assert bounds(found) == pytest.approx(bounds(expected), rel=1e-6, abs=1e-9)


def test_the_same_seed_gives_the_same_numbers_and_another_nearly_so():
    for metric, make in every():
        sides = make()
        first = compare(metric, *sides, seed=1).difference
        assert bounds(compare(metric, *sides, seed=1).difference).tolist() == [
            first.low,
            first.high,
        ]
        width = first.high - first.low
        other = compare(metric, *sides, seed=2).difference
        assert np.abs(bounds(other) - bounds(first)).max() < 0.06 * width


def test_correlated_groups_widen_the_interval():
    candidate, champion = classifiers(rows=2000, seed=2)
    disagree = (candidate.prediction != champion.prediction).astype(int)
    # Rows on which the models differ sit together in few groups.
    group = np.empty(2000, dtype=int)
    group[np.argsort(-disagree, kind="stable")] = np.arange(2000) // 40
    metric = lookup("accuracy", "classification")
    plain = compare(metric, candidate, champion).difference
    grouped = compare(
        metric, replaced(candidate, group=group), replaced(champion, group=group)
    ).difference
    assert grouped.high - grouped.low > 1.2 * (plain.high - plain.low)


# --- Estimates ---------------------------------------------------------------------------------


def test_p_values_and_intervals_agree():
    for metric, make in every():
        for groups in (0, 20):
            sides = make(groups=groups, seed=12)
            for estimate in (
                compare(metric, *sides).difference,
                compare(metric, *sides).candidate,
            ):
                assert estimate.p_value(estimate.low, "greater") == pytest.approx(0.025, rel=0.02)
                assert estimate.p_value(estimate.high, "less") == pytest.approx(0.025, rel=0.02)
                assert estimate.p_value(estimate.low, "less") == pytest.approx(0.975, rel=0.02)
                assert estimate.p_value(-1e9, "greater") < 1e-4
                assert estimate.p_value(1e9, "greater") > 1 - 1e-4
                low, high = estimate.interval(0.95)
                assert (low, high) == pytest.approx((estimate.low, estimate.high))
                wide = estimate.interval(0.99)
                assert wide[0] < low < high < wide[1]
                grid = np.linspace(low - (high - low), high + (high - low), 50)
                p_values = [estimate.p_value(x, "greater") for x in grid]
                assert (np.diff(p_values) >= 0).all()


def test_the_relative_change_follows_both():
    for metric, make in every():
        sides = make(groups=40)
        found = compare(metric, *sides, relative=True)
        ratio = found.candidate.estimate / found.champion.estimate - 1
        assert found.relative.estimate == pytest.approx(ratio)
        assert found.relative.low < ratio < found.relative.high
        share = found.difference.standard_error / found.champion.estimate
        assert found.relative.standard_error == pytest.approx(share, rel=0.35)


def test_a_relative_change_to_nothing_is_undefined():
    truth = np.arange(10.0)
    exact = Scored(target=truth, prediction=truth)
    off = Scored(target=truth, prediction=truth + np.tile([0.5, 1.0], 5))
    metric = lookup("mean_absolute_error", "regression")
    assert compare(metric, off, exact).difference.estimate == pytest.approx(0.75)
    with pytest.raises(Undefined, match="champion above zero"):
        compare(metric, off, exact, relative=True)


def test_the_same_answers_have_no_difference():
    for metric, make in every():
        for groups in (0, 10):
            one, _ = make(groups=groups)
            found = compare(metric, one, replaced(one), influence=True).difference
            assert (found.estimate, found.low, found.high) == (0, 0, 0)
            assert found.method == "identical answers"
            assert not found.influence.values.any()
            assert found.p_value(-0.01, "greater") == 0
            assert found.p_value(0.01, "greater") == 1


def test_two_perfect_models_are_not_known_to_be_alike():
    target = np.tile([0, 1], 20)
    sides = [
        Scored(
            target=target,
            prediction=target,
            probability=np.stack([1 - p, p], axis=1),
            labels=(0, 1),
        )
        for p in (0.1 + 0.8 * target, 0.2 + 0.7 * target + np.linspace(0, 0.05, 40))
    ]
    found = compare(lookup("roc_auc", "classification"), *sides)
    assert found.candidate.estimate == 1
    assert 0.7 < found.candidate.low < 1
    assert found.difference.low < -0.05 < 0.05 < found.difference.high
    assert found.difference.p_value(-0.01, "greater") > 0.3


def test_models_that_agree_on_a_slice_are_not_known_to_be_the_same():
    candidate, champion = classifiers()
    agree = np.flatnonzero(candidate.prediction == champion.prediction)[:60]
    for name in ("accuracy", "f1", "recall"):
        found = compare(lookup(name, "classification"), candidate, champion, rows=agree)
        assert found.difference.estimate == 0
        assert found.difference.low < -0.01 < 0.01 < found.difference.high


def test_one_unit_says_nothing():
    candidate, champion = classifiers()
    for metric, _ in every(CLASSIFICATION):
        with pytest.raises(Undefined, match="one group"):
            compare(metric, replaced(candidate, group=np.zeros(400, dtype=int)), champion)
        with pytest.raises(Undefined, match="no rows"):
            compare(metric, candidate, champion, rows=np.array([], dtype=int))
        with pytest.raises(Undefined, match="one class"):
            compare(metric, candidate, champion, rows=candidate.target == 1)
    for metric, _ in every(REGRESSION):
        with pytest.raises(Undefined, match="one row"):
            compare(metric, *regressors(), rows=np.array([3]))


def test_sides_of_different_length_are_refused():
    with pytest.raises(Undefined, match="different rows"):
        compare(lookup("accuracy", "classification"), classifiers(100)[0], classifiers(101)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_metric_survives_a_number_that_is_none(value):
    for metric, make in every():
        for column in metric.needs:
            sides = make()
            broken = np.array(getattr(sides[0], column), dtype=float)
            broken[7] = value
            with pytest.raises(Undefined, match=r"missing or infinite"):
                compare(metric, replaced(sides[0], **{column: broken}), sides[1])
            with pytest.raises(Undefined, match=r"missing or infinite"):
                compare(metric, sides[0], replaced(sides[1], **{column: broken}))


def test_losses_that_overflow_are_undefined():
    scored = Scored(target=np.zeros(4), losses={"cost": np.array([1e308, 1e308, 1e308, 0])})
    with pytest.raises(Undefined):
        compare(lookup("loss_cost", "regression"), scored)


def test_many_classes_are_linearised():
    random = np.random.default_rng(0)
    target = random.integers(0, 40, 3000)
    sides = [
        Scored(
            target=target,
            prediction=np.where(random.random(3000) < right, target, (target + 1) % 40),
            labels=tuple(range(40)),
        )
        for right in (0.8, 0.75)
    ]
    found = compare(lookup("f1_macro", "classification"), *sides).difference
    assert found.method == "linearised"
    accuracy = compare(lookup("accuracy", "classification"), *sides).difference
    assert found.standard_error == pytest.approx(accuracy.standard_error, rel=0.1)


def test_pseudo_counts_never_outweigh_the_rows():
    assert tables.pseudo_count(8) == 0.5
    assert tables.pseudo_count(4) == 0.5
    assert tables.pseudo_count(1000) * 1000 == pytest.approx(4)


def test_comparisons_can_be_stored():
    found = compare(lookup("f1", "classification"), *classifiers(), influence=True)
    again = pickle.loads(pickle.dumps(found.difference))  # noqa: S301
    assert again.p_value(0, "greater") == found.difference.p_value(0, "greater")


# --- Influences --------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "weighted"), list(product((0, 50), (False, True))))
def test_influences_are_what_a_little_more_weight_does(groups, weighted):
    """The derivative by a row's weight, against the metric with that weight changed."""
    step = 1e-5
    names = (*CLASSIFICATION, "r2", "root_mean_squared_error", "explained_variance")
    names = [name for name in names if name != "median_absolute_error"]
    for name in names:
        task = "regression" if "r" in name[:1] and name not in CLASSIFICATION else None
        task = "regression" if name in {"r2", "root_mean_squared_error"} else task
        task = "regression" if name == "explained_variance" else task
        metric = lookup(name, task or "classification")
        make = regressors if task else classifiers
        one, two = make(rows=60, groups=groups, weighted=weighted, seed=4)
        influence = compare(metric, one, two, influence=True, resamples=50).difference.influence
        weight = np.ones(60) if one.weight is None else one.weight
        share = weight / weight.sum()
        for unit in influence.units[:5]:
            rows = np.flatnonzero(one.group == unit) if groups else np.array([unit])
            changed = share.copy()
            changed[rows] *= 1 + step
            values = [
                compare(metric, replaced(side, weight=changed, group=None), resamples=50)
                for side in (one, two)
            ]
            base = [
                compare(metric, replaced(side, weight=share, group=None), resamples=50)
                for side in (one, two)
            ]
            moved = [
                (v.candidate.estimate - b.candidate.estimate) / step
                for v, b in zip(values, base, strict=True)
            ]
            found = influence.values[influence.units == unit][0]
            assert found == pytest.approx(moved[0] - moved[1], rel=2e-3, abs=1e-7), name


def test_influences_of_a_slice_name_rows_of_the_whole_set():
    rows = np.array([5, 3, 8, 100, 101, 102, 30, 31, 60, 61, 62, 63, 64, 1, 0, 2])
    metric = lookup("accuracy", "classification")
    found = compare(metric, *classifiers(), rows=rows, influence=True).difference.influence
    assert found.units.tolist() == rows.tolist()
    sides = classifiers(groups=7)
    grouped = compare(metric, *sides, rows=rows, influence=True).difference.influence
    assert grouped.units.tolist() == np.unique(sides[0].group[rows]).tolist()


# --- Curves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "curve",
    [
        Student(0.3, 0.1),
        Student(0.3, 0.1, 4.5),
        Student(0.3, 0.1, 9, "logit"),
        Student(-0.3, 0.1, 9, "log"),
        Student(0.3, 0.1, 9, "logit", -1),
        Knots(np.linspace(-3, 3, 25), np.linspace(-3, 3, 25) ** 3 + np.linspace(-3, 3, 25)),
        Unvarying(1.0, 20, 0.0, 1.5),
        Unvarying(0.0, 20, -1.0, 1.0),
    ],
)
def test_curves_go_up_and_can_be_turned_and_inverted(curve):
    scores = np.linspace(-3.5, 3.5, 41)
    values = [curve.value(z) for z in scores]
    assert (np.diff(values) > 0).all() or isinstance(curve, Unvarying)
    assert (np.diff(values) >= 0).all()
    for z, value in zip(scores, values, strict=True):
        if abs(z) > 0.05:
            assert curve.score(value) == pytest.approx(z, abs=0.06)
        assert curve.negated().value(-z) == pytest.approx(-value, abs=1e-12)


def test_no_variation_leaves_clopper_pearsons_bound():
    low = Unvarying(1.0, 30, 0.0, 1.0).value(-norm.ppf(0.975))
    assert low == pytest.approx(beta.ppf(0.05, 30, 1))


def test_spread_is_the_variance_of_a_mean():
    values = np.random.default_rng(3).normal(size=50)
    # The mean without each row, against the mean.
    left_out = values.mean() - (values.sum() - values) / 49
    error, degrees = spread(left_out)
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    assert 30 < degrees <= 49
    _, few = spread(np.concatenate([[10.0, -10.0], 0.1 * values]))
    assert few < 9


def test_a_linearised_mean_has_the_jackknifes_error():
    random = np.random.default_rng(2)
    group = random.choice(6, 200, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    values, weight = random.normal(size=200) + group, random.gamma(2, size=200)
    sample = Sample(
        rows=None,
        count=200,
        weight=weight,
        group=group,
        confidence=0.95,
        resamples=0,
        random=random,
        same=False,
        relative=False,
        influence=False,
    )
    mean = np.average(values, weights=weight)
    error, _ = sample.linearised((values - mean) * weight / weight.sum())
    left_out = [np.average(values[group != g], weights=weight[group != g]) for g in range(6)]
    expected = np.sqrt(5 / 6 * np.sum((mean - np.array(left_out)) ** 2))
    assert error == pytest.approx(expected, rel=1e-10)


def test_ranks_of_a_slice():
    ranks = np.array([7, 2, 7, 900, 2])
    assert delong.closer_ranks(ranks).tolist() == [1, 0, 1, 2, 0]
    assert delong.dense_ranks(np.array([0.3, 0.1, 0.3, 9.0])).tolist() == [1, 0, 1, 2]


# --- Many at once ------------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    for bad in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm([0.5, bad])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_at_least_bonferronis_largest_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))


def slices(metric, count, rows=4000, *, groups=0, champion=True):
    sides = classifiers(rows=rows, groups=groups, seed=20)
    code = np.random.default_rng(0).integers(0, count, rows)
    return [
        compare(
            metric,
            sides[0],
            sides[1] if champion else None,
            rows=code == k,
            influence=True,
        )
        for k in range(count)
    ]


def test_correlations_are_those_of_shared_units():
    one = Influence(np.array([1, 5, 9]), np.array([1.0, -2.0, 1.0]))
    same = Influence(np.array([9, 5, 1]), np.array([2.0, -4.0, 2.0]))
    apart = Influence(np.array([2, 3]), np.array([1.0, -1.0]))
    still = Influence(np.array([1, 2]), np.zeros(2))
    far = Influence(np.array([1, 50_000]), np.array([1.0, -1.0]))
    found = correlation([one, same, apart, still, far])
    assert np.diagonal(found) == pytest.approx(1)
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == found[0, 3] == 0
    assert found[0, 4] == pytest.approx(1 / np.sqrt(12))
    assert (found == found.T).all()


def test_correlations_of_many_units_are_folded_but_stay():
    random = np.random.default_rng(3)
    rows = 400_000
    values = random.normal(size=(3, rows)) + random.normal(size=rows)
    values += 1.0  # Nothing may depend on the sums being zero.
    influences = [Influence(np.arange(rows), each) for each in values]
    influences.append(Influence(np.arange(0, rows, 2), values[0, ::2]))
    found = correlation(influences)
    shared = 2 / 3  # Of the square of each value, 3: the common part, 1, and the mean's, 1.
    expected = np.full((4, 4), shared)
    expected[0, 3] = expected[3, 0] = np.sqrt(0.5)
    expected[1:3, 3] = expected[3, 1:3] = shared * np.sqrt(0.5)
    np.fill_diagonal(expected, 1)
    assert np.abs(found - expected).max() < 0.02


def test_simultaneous_intervals_of_disjoint_slices_are_sidaks():
    estimates = [one.difference for one in slices(lookup("log_loss", "classification"), 8)]
    score = critical_score(estimates, confidence=0.95, resamples=200_000)
    assert score == pytest.approx(norm.ppf((1 + 0.95 ** (1 / 8)) / 2), abs=0.02)
    for one, (low, high) in zip(estimates, simultaneous(estimates, confidence=0.95), strict=True):
        assert low < one.low
        assert high > one.high


def test_simultaneous_intervals_of_one_slice_said_twice_are_its_own():
    one = slices(lookup("log_loss", "classification"), 2)[0].difference
    low, high = simultaneous([one, one, one], resamples=200_000)[1]
    assert (low, high) == pytest.approx((one.low, one.high), abs=0.02 * (high - low))
    assert critical_score([], confidence=0.95) == pytest.approx(1.96, abs=0.001)


def test_simultaneous_intervals_need_influences():
    one = compare(lookup("log_loss", "classification"), *classifiers()).difference
    with pytest.raises(ValueError, match="no influence"):
        simultaneous([one])


@pytest.mark.parametrize("scale", ["difference", "ratio"])
@pytest.mark.parametrize("groups", [0, 30])
def test_pairwise_intervals_of_all_gaps(scale, groups):
    rates = [
        one.candidate
        for one in slices(
            lookup("selection_rate", "classification"), 4, groups=groups, champion=False
        )
    ]
    found = pairwise(rates, scale=scale)
    assert [(c.first, c.second) for c in found] == [
        (i, j) for i in range(4) for j in range(i + 1, 4)
    ]
    equal = 0.0 if scale == "difference" else 1.0
    for contrast in found:
        assert contrast.low < contrast.estimate < contrast.high
        assert contrast.low < equal < contrast.high


def test_a_ratio_to_what_may_be_zero_has_no_upper_bound():
    target = np.tile([0, 1], 40)
    prediction = np.zeros(80, dtype=int)
    prediction[:20] = 1
    prediction[79] = 1
    scored = Scored(target=target, prediction=prediction, labels=(0, 1))
    metric = lookup("selection_rate", "classification")
    one, two = (
        compare(metric, scored, rows=rows, influence=True).candidate
        for rows in (np.arange(40), np.arange(40, 80))
    )
    contrast = pairwise([one, two], scale="ratio")[0]
    assert contrast.estimate == pytest.approx(20)
    assert contrast.high == np.inf
    assert contrast.low > 1
    inverse = pairwise([two, one], scale="ratio")[0]
    assert inverse.low == 0
    assert 1 / inverse.high == pytest.approx(contrast.low, rel=0.03)


def test_detectable_loss_is_found_with_the_wanted_power():
    """Estimates are drawn around a loss of that size: the guardrail notices four of five."""
    difference = compare(lookup("log_loss", "classification"), *classifiers()).difference
    loss = detectable_loss(difference, margin=0.01, alpha=0.005, power=0.8)
    error = difference.standard_error
    seen = np.random.default_rng(0).normal(-loss, error, 100_000)
    noticed = seen + norm.ppf(1 - 0.005) * error < -0.01
    assert noticed.mean() == pytest.approx(0.8, abs=0.01)


# --- Coverage, in short ------------------------------------------------------------------------


SHORT = {
    ("binary", 500, 0.5): ("roc_auc", "average_precision", "log_loss", "f1", "precision"),
    ("binary", 500, 0.1): ("roc_auc", "log_loss", "f1", "recall"),
    ("binary", 500, 0.5, 50): ("roc_auc", "brier_score", "f1"),
    ("multiclass", 500, 0.5): ("accuracy", "f1_macro", "roc_auc_ovr"),
    ("regression", 500): ("mean_absolute_error", "root_mean_squared_error", "r2"),
}


@pytest.fixture
def simulation(monkeypatch):
    """Give the programs in tests/simulations by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "simulations"))
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHORT, ids=str)
def test_intervals_cover_the_truth(simulation, kind):
    """The short form of tests/simulations/interval_coverage.py: 200 pairs a kind, always the same.

    With 200 pairs a coverage of 95 % is seen with a standard error of 1.5 points; the range asked
    for, 93 to 97 %, is widened by two of them.
    """
    whole = simulation("interval_coverage")
    pairs = 200
    tolerance = 2 * np.sqrt(0.95 * 0.05 / pairs)
    for cell in whole.simulate(whole.Kind(*kind), pairs, SHORT[kind], 500_000):
        assert cell.covered >= 0.93 - tolerance, cell
        assert cell.covered <= 0.97 + tolerance or not cell.many, cell
        assert cell.undefined <= 3, cell


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 5, 7, 9])
def test_intervals_of_all_gaps_cover_the_truth(simulation, place):
    """The short form of tests/simulations/gap_coverage.py, as above."""
    whole = simulation("gap_coverage")
    kind, sets = whole.KINDS[place], 200
    tolerance = 2 * np.sqrt(0.95 * 0.05 / sets)
    assert 0.93 - tolerance <= whole.covered(kind, sets) <= 0.97 + tolerance, kind


@pytest.mark.slow
def test_forty_equal_slices_seldom_reject_and_one_that_lost_is_found(simulation):
    """The short form of tests/simulations/slice_gates.py: at most 7 of 60, at least 28 of 30.

    With the whole form's rates, 5 % and 99 %, one seed in fifty would fail; these are fixed.
    """
    whole = simulation("slice_gates")
    for name, false_alarm in whole.FALSE_ALARMS.items():
        assert sum(map(false_alarm, range(60))) <= 7, name
    assert sum(map(whole.detection, range(30))) >= 28
