"""The metrics of the gate have scikit-learn's values and names."""

import pickle

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_actions.gate.statistics.comparison import compare
from mlops_actions.gate.statistics.metrics import Scored, Undefined, UnknownMetric, lookup, names

# Scorers for clusterings and for targets of several labels at once, and what has no interval.
OTHERS = {
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "completeness_score",
    "fowlkes_mallows_score",
    "homogeneity_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "rand_score",
    "v_measure_score",
    "f1_samples",
    "jaccard_samples",
    "precision_samples",
    "recall_samples",
    "neg_max_error",
}

# Which scikit-learn computes without weights only.
UNWEIGHTED = {
    "roc_auc_ovo",
    "roc_auc_ovo_weighted",
    "positive_likelihood_ratio",
    "neg_negative_likelihood_ratio",
}


class Model:
    """What a scikit-learn scorer wants to see of a model."""

    def __init__(self, prediction, probability=None):
        self.prediction, self.probability = prediction, probability
        self.classes_ = None if probability is None else np.arange(probability.shape[1])
        self._estimator_type = "regressor" if probability is None else "classifier"

    def fit(self, _features, _target):
        return self

    def predict(self, _features):
        return self.prediction

    def predict_proba(self, _features):
        return self.probability

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
        )


def classifier(classes, seed, *, weighted=False, rows=120, steps=12):
    """Answers with many ties: probabilities are multiples of about 1/steps."""
    random = np.random.default_rng(seed)
    target = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])
    probability = np.round(random.dirichlet(np.ones(classes), rows) * steps) + 0.5
    probability[np.arange(rows), target] += random.integers(0, steps // 2, rows)
    probability /= probability.sum(axis=1, keepdims=True)
    prediction = np.where(random.random(rows) < 0.7, target, random.integers(0, classes, rows))
    prediction[:classes] = np.arange(classes)
    prediction[-1], target[-1] = 1, 0  # So that no false rate is zero.
    prediction[-2], target[-2] = 0, 1
    weight = random.integers(0, 4, rows) + np.arange(rows) % 2 if weighted else None
    if weighted:
        weight[[*range(classes), -1, -2]] = 1
    return Scored(
        target=target,
        prediction=prediction,
        probability=probability,
        labels=tuple(range(classes)),
        weight=weight,
    )


def regressor(seed, *, weighted=False, rows=120):
    random = np.random.default_rng(seed)
    target = 0.5 + random.gamma(2, 2, rows)
    return Scored(
        target=target,
        prediction=target * np.exp(random.normal(size=rows) / 4),
        weight=random.integers(1, 4, rows) if weighted else None,
    )


def scikit_learn(name, scored):
    scorer = sklearn.metrics.get_scorer(name)
    options = {} if scored.weight is None else {"sample_weight": scored.weight}
    model = Model(scored.prediction, scored.probability)
    return scorer(model, np.zeros((len(scored), 1)), scored.target, **options)


def scorers(task, classes=None):
    for name in sklearn.metrics.get_scorer_names():
        try:
            yield name, lookup(name, task, classes=classes)
        except UnknownMetric:
            continue


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_classification_metrics_are_scikit_learns(classes, weighted, seed):
    scored = classifier(classes, seed, weighted=weighted)
    for name, metric in scorers("classification", classes):
        if weighted and name in UNWEIGHTED:
            continue
        ours = compare(metric, scored, resamples=20).candidate.estimate
        assert ours == pytest.approx(scikit_learn(name, scored), abs=1e-11), name


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_regression_metrics_are_scikit_learns(weighted, seed):
    scored = regressor(seed, weighted=weighted)
    for name, metric in scorers("regression"):
        ours = compare(metric, scored, resamples=20).candidate.estimate
        assert ours == pytest.approx(scikit_learn(name, scored), rel=1e-11, abs=1e-11), name


def test_every_scorer_for_our_tasks_exists():
    ours = {name for task in ("classification", "regression") for name, _ in scorers(task)}
    assert set(sklearn.metrics.get_scorer_names()) - ours == OTHERS


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_listed_name_can_be_looked_up(task):
    assert names(task)
    for name in names(task):
        metric = lookup(name, task)
        assert metric.name == name
        assert task in metric.tasks


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.filterwarnings("ignore")
def test_top_k_is_scikit_learns_also_where_scores_tie(k, classes):
    scored = classifier(classes, 3, steps=3)
    score = scored.probability if classes > 2 else scored.probability[:, 1]
    expected = sklearn.metrics.top_k_accuracy_score(
        scored.target, score, k=k, labels=np.arange(classes)
    )
    metric = lookup(f"top_{k}_accuracy", "classification")
    assert compare(metric, scored).candidate.estimate == pytest.approx(expected)


def test_pinball_is_scikit_learns():
    scored = regressor(5)
    low = scored.prediction * 0.8
    with_quantile = Scored(target=scored.target, prediction=scored.prediction, quantiles={0.1: low})
    expected = sklearn.metrics.mean_pinball_loss(scored.target, low, alpha=0.1)
    metric = lookup("pinball_0.1", "regression")
    assert compare(metric, with_quantile).candidate.estimate == pytest.approx(expected)
    with pytest.raises(Undefined, match=r"quantile_0\.9"):
        compare(lookup("pinball_0.9", "regression"), with_quantile)


def test_own_loss_is_its_weighted_mean_and_has_no_direction():
    scored = Scored(
        target=np.zeros(4),
        losses={"cost": np.array([1.0, 2.0, 3.0, 10.0])},
        weight=np.array([1, 1, 1, 0]),
    )
    metric = lookup("loss_cost", "regression")
    assert metric.greater_is_better is None
    assert compare(metric, scored).candidate.estimate == pytest.approx(2.0)
    with pytest.raises(Undefined, match="loss_other"):
        compare(lookup("loss_other", "regression"), scored)


def test_negated_scorer_turns_value_bounds_and_direction():
    scored, other = classifier(2, 1), classifier(2, 2)
    other = Scored(
        target=scored.target,
        prediction=other.prediction,
        probability=other.probability,
        labels=(0, 1),
    )
    plain = compare(lookup("log_loss", "classification"), scored, other)
    metric = lookup("neg_log_loss", "classification")
    negated = compare(metric, scored, other)
    assert metric.greater_is_better
    assert metric.bounds == (-np.inf, 0)
    assert negated.difference.estimate == -plain.difference.estimate
    assert negated.difference.low == -plain.difference.high
    assert negated.gain().low == pytest.approx(plain.gain().low)
    assert negated.difference.p_value(0, "greater") == pytest.approx(
        plain.difference.p_value(0, "less")
    )


def test_positive_label_may_be_the_first():
    scored = classifier(2, 9)
    turned = Scored(
        target=1 - scored.target,
        prediction=1 - scored.prediction,
        probability=scored.probability[:, ::-1],
        labels=("late", "on time"),
        positive=0,
    )
    for name in ("f1", "precision", "recall", "roc_auc", "average_precision", "brier_score"):
        metric = lookup(name, "classification")
        ours = compare(metric, turned).candidate.estimate
        assert ours == pytest.approx(compare(metric, scored).candidate.estimate), name


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("roc_acu", "classification", "Did you mean roc_auc or roc_auc_ovr\\?$"),
        ("logloss", "classification", "Did you mean log_loss"),
        ("r2", "classification", "is not for a classification"),
        ("accuracy", "regression", "is not for a regression"),
        ("neg_max_error", "regression", "has no interval"),
        ("neg_accuracy", "classification", "does not exist"),
        ("top_0_accuracy", "classification", "does not exist"),
        ("pinball_1.5", "regression", "does not exist"),
        ("pinball_0.0", "regression", "does not exist"),
        ("", "regression", "does not exist"),
        ("neg_" * 2000, "regression", "does not exist"),
    ],
)
def test_unknown_names_say_why_and_what_is_near(name, task, message):
    with pytest.raises(UnknownMetric, match=message):
        lookup(name, task)


def test_metrics_of_two_classes_point_to_those_of_many():
    with pytest.raises(UnknownMetric, match="needs two labels") as caught:
        lookup("f1", "classification", classes=3)
    assert "f1_macro" in caught.value.suggestions
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": np.array([[np.nan, 1.0]] * 4)}, "missing or infinite"),
        ({"probability": np.array([[0.2, 0.9]] * 4)}, "sum to one"),
        ({"probability": np.array([[-0.1, 1.1]] * 4)}, r"outside \[0, 1\]"),
        ({"probability": np.array([[0.1, 0.4, 0.5]] * 4)}, "shape"),
        ({"probability": None}, "no probabilities"),
        ({"target": np.array([0, 1, 2, 1])}, "none of the labels"),
        ({"target": np.array([0, 1, np.nan, 1])}, "missing or infinite"),
        ({"target": np.array([1, 1, 1, 1])}, "one class only"),
        ({"weight": np.array([1, 1, -1, 1])}, "negative"),
        ({"weight": np.array([1, 1, np.inf, 1])}, "missing or infinite"),
        ({"weight": np.zeros(4)}, "sum to zero"),
        ({"group": np.array([0, 0, 0, 0])}, "one group only"),
        ({"group": np.array([0, -1, 0, 0])}, "no group"),
        ({"group": np.array([0, 0, 0, 1])}, "fewer than two groups"),
    ],
)
def test_what_has_no_answer_is_undefined(change, message):
    columns = {
        "target": np.array([0, 1, 0, 1]),
        "probability": np.array([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5], [0.55, 0.45]]),
        "labels": (0, 1),
    }
    metric = lookup("roc_auc", "classification")
    assert compare(metric, Scored(**columns)).candidate.estimate == 0.75
    with pytest.raises(Undefined, match=message):
        compare(metric, Scored(**(columns | change)))


def test_percentage_error_is_refused_near_zero():
    scored = Scored(target=np.array([1.0, 2.0, 1e-9]), prediction=np.array([1.0, 2.0, 1.0]))
    with pytest.raises(Undefined, match="near zero"):
        compare(lookup("mean_absolute_percentage_error", "regression"), scored)


def test_precision_without_a_predicted_positive_is_undefined():
    scored = Scored(target=np.array([0, 1, 0, 1]), prediction=np.zeros(4, dtype=int), labels=(0, 1))
    with pytest.raises(Undefined, match="nothing is predicted as positive"):
        compare(lookup("precision", "classification"), scored)
    assert compare(lookup("recall", "classification"), scored).candidate.estimate == 0
