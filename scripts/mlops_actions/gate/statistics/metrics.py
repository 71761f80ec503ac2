"""The metrics of the gate, by name, with scikit-learn's definitions.

A metric belongs to one of four families, which decide how its uncertainty is computed:

- `Sums`: a smooth function of weighted means over the rows (losses, RMSE, R2);
- `Hits`: a function of the share of rows that are right (accuracy, top-k);
- `Counts`: a function of the confusion matrix (F1, precision, recall, balanced accuracy);
- `Ranks`: a function of the order of the scores (ROC-AUC, average precision).

Names are scikit-learn's scorer names. A scorer `neg_x` is the negative of the loss `x`, and both
names are accepted; `loss_<name>` is the weighted mean of the user's own column.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import xlogy

from mlops_actions.gate.statistics import ranking
from mlops_actions.gate.statistics.scored import Scored, Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Booleans = NDArray[np.bool_]
    Values = Any  # Arrays of float, or of complex where a derivative is taken.
    Rows = NDArray[np.int64] | None

__all__ = [
    "Counts",
    "Hits",
    "Metric",
    "Ranks",
    "Scored",
    "Sums",
    "Task",
    "Undefined",
    "UnknownMetric",
    "lookup",
    "names",
]

Task = Literal["classification", "regression"]
Need = Literal["prediction", "probability", "quantile", "loss"]

NEAR_ZERO = 1e-3
"""Targets smaller than this share of the median target make a percentage error meaningless."""


@dataclass(frozen=True)
class Sums:
    """A smooth function of weighted means.

    Attributes:
        columns: gives the columns, each (m,), of the rows asked for.
        value: takes means (…, c) of the c columns to the metric (…).

    """

    columns: Callable[[Scored, Rows], tuple[Floats, ...]]
    value: Callable[[Values], Values]


@dataclass(frozen=True)
class Hits:
    """A function of the share of rows that are hits.

    Attributes:
        hit: gives for each of the n rows whether it is one.
        value: takes shares (…) to the metric (…).

    """

    hit: Callable[[Scored], Booleans]
    value: Callable[[Values], Values] = field(default=lambda share: share)


@dataclass(frozen=True)
class Counts:
    """A function of the confusion matrix.

    Attributes:
        value: takes matrices (…, k, k) of target by prediction, and the one that was observed
            (k, k), to the metric (…). The observed one decides which classes take part.
        binary: it looks at the positive class only; `value` then expects it as class 1.

    """

    value: Callable[[Values, Values], Values]
    binary: bool = False


@dataclass(frozen=True)
class Ranks:
    """A function of the order of scores.

    Attributes:
        contributions: gives estimate and influence for the rows asked for.

    """

    contributions: Callable[[Scored, Rows], ranking.Ranked]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: as it was asked for.
        tasks: what it can judge.
        greater_is_better: its direction, or None for the user's own loss, which the policy says.
        needs: the columns of the predictions that it reads.
        bounds: least and largest possible value.
        family: how it is computed.
        negated: it is the negative of what `family` computes (scorers `neg_x`).
        classes: "binary" when it needs exactly two labels, else "any".
        both_classes: it is undefined when the target has one class only.

    """

    name: str
    tasks: frozenset[Task]
    greater_is_better: bool | None
    needs: frozenset[Need]
    bounds: tuple[float, float]
    family: Sums | Hits | Counts | Ranks
    negated: bool = False
    classes: Literal["any", "binary"] = "any"
    both_classes: bool = True


class UnknownMetric(KeyError):
    """A metric name that does not exist, or not for this task.

    Attributes:
        name: what was asked for.
        reason: why not, as the end of a sentence.
        suggestions: the nearest names that do exist, best first.

    """

    def __init__(self, name: str, reason: str, suggestions: list[str]) -> None:
        super().__init__(name, reason, suggestions)  # All, so that it can be pickled.
        self.name = name
        self.reason = reason
        self.suggestions = suggestions

    def __str__(self) -> str:
        """Return whole sentences."""
        hint = f" Did you mean {' or '.join(self.suggestions)}?" if self.suggestions else ""
        return f"The metric {self.name!r} {self.reason}.{hint}"


# --- Columns -----------------------------------------------------------------------------------


def pick(values: NDArray[Any], rows: Rows) -> NDArray[Any]:
    """Return the rows asked for; None stands for all."""
    return values if rows is None else values[rows]


def _row_loss(name: str, loss: Callable[[Scored], Floats]) -> Sums:
    """Return the family of a mean of a loss per row."""

    def columns(scored: Scored, rows: Rows) -> tuple[Floats, ...]:
        return (pick(scored.kept(name, lambda: loss(scored)), rows),)

    return Sums(columns, lambda means: means[..., 0])


def _log_loss(scored: Scored) -> Floats:
    chosen = scored.probabilities()[np.arange(len(scored)), scored.codes()]
    smallest = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(chosen, smallest, 1 - smallest))
    return losses


def _brier(scored: Scored) -> Floats:
    probabilities, codes = scored.probabilities(), scored.codes()
    if len(scored.labels) == 2:  # noqa: PLR2004
        difference: Floats = probabilities[:, scored.positive] - (codes == scored.positive)
        return difference**2
    chosen = probabilities[np.arange(len(scored)), codes]
    losses: Floats = np.einsum("ij,ij->i", probabilities, probabilities) - 2 * chosen + 1
    return losses


def _residual(scored: Scored) -> Floats:
    return scored.truth() - scored.numbers()


def _squared(scored: Scored) -> Floats:
    return scored.kept("squared error", lambda: np.square(_residual(scored)))


def _absolute_percentage(scored: Scored) -> Floats:
    size = np.abs(scored.truth())
    if size.size and size.min() <= NEAR_ZERO * np.median(size):
        raise Undefined(
            f"a target lies near zero (below {NEAR_ZERO:g} of the median target), where a "
            "percentage error means nothing"
        )
    errors: Floats = np.abs(_residual(scored)) / size
    return errors


def _squared_log(scored: Scored) -> Floats:
    truth, numbers = scored.truth(), scored.numbers()
    if truth.size and min(truth.min(), numbers.min()) <= -1:
        raise Undefined("a target or prediction is not above -1, where log(1 + x) ends")
    errors: Floats = np.square(np.log1p(truth) - np.log1p(numbers))
    return errors


def _deviance(scored: Scored, power: Literal[1, 2]) -> Floats:
    truth, numbers = scored.truth(), scored.numbers()
    if truth.size and (numbers.min() <= 0 or truth.min() < 0 or (power > 1 and truth.min() <= 0)):
        raise Undefined("a deviance needs positive predictions and targets")
    if power == 1:
        poisson: Floats = 2 * (xlogy(truth, truth / numbers) - truth + numbers)
        return poisson
    gamma: Floats = 2 * (np.log(numbers / truth) + truth / numbers - 1)
    return gamma


def _pinball(level: float) -> Sums:
    def loss(scored: Scored) -> Floats:
        residual = scored.truth() - scored.quantile(level)
        return np.maximum(level * residual, (level - 1) * residual)

    return _row_loss(f"pinball {level!r}", loss)


def _own_loss(name: str) -> Sums:
    return _row_loss(f"own {name}", lambda scored: scored.loss(name))


# --- Functions of several means ----------------------------------------------------------------


def _root(means: Values) -> Values:
    return np.sqrt(means[..., 0])


def _regression_columns(scored: Scored, rows: Rows) -> tuple[Floats, ...]:
    truth = pick(scored.truth(), rows)
    # From the mean, so that the sum of squares keeps its digits.
    centred = truth - truth.mean() if truth.size else truth
    error = pick(scored.kept("residual", lambda: _residual(scored)), rows)
    return pick(_squared(scored), rows), error, centred, np.square(centred)


def _r2(means: Values) -> Values:
    return 1 - means[..., 0] / (means[..., 3] - means[..., 2] ** 2)


def _explained_variance(means: Values) -> Values:
    return 1 - (means[..., 0] - means[..., 1] ** 2) / (means[..., 3] - means[..., 2] ** 2)


def _d2_absolute_columns(scored: Scored, rows: Rows) -> tuple[Floats, ...]:
    truth = pick(scored.truth(), rows)
    weight = scored.weights()
    middle = ranking.median(truth, None if weight is None else pick(weight, rows))
    # The median makes its own sum stationary: to first order it can be taken as fixed.
    return np.abs(pick(_residual(scored), rows)), np.abs(truth - middle)


def _d2_absolute(means: Values) -> Values:
    return 1 - means[..., 0] / means[..., 1]


def _with_shares(loss: Sums) -> Callable[[Scored, Rows], tuple[Floats, ...]]:
    def columns(scored: Scored, rows: Rows) -> tuple[Floats, ...]:
        codes = pick(scored.codes(), rows)
        shares = tuple((codes == k).astype(np.float64) for k in range(len(scored.labels)))
        return loss.columns(scored, rows) + shares

    return columns


def _d2_log_loss(means: Values) -> Values:
    shares = means[..., 1:]
    # A class that does not occur adds nothing, also not to the derivative.
    safe = np.where(shares == 0, 1, shares)
    return 1 + means[..., 0] / np.sum(shares * np.log(safe), axis=-1)


def _d2_brier(means: Values) -> Values:
    shares = means[..., 1:]
    scale = 0.5 if shares.shape[-1] == 2 else 1.0  # noqa: PLR2004
    return 1 - means[..., 0] / (scale * (1 - np.sum(shares * shares, axis=-1)))


# --- Functions of the confusion matrix ---------------------------------------------------------


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Return the ratio, with 0 for 0/0 as scikit-learn has it in averages over classes."""
    empty = denominator == 0
    return np.where(empty, 0, numerator / np.where(empty, 1, denominator))


def _per_class(kind: str, matrix: Values) -> Values:
    """Return precision, recall, F1 or Jaccard of each class, (…, k)."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    actual, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    if kind == "precision":
        return _ratio(right, predicted)
    if kind == "recall":
        return _ratio(right, actual)
    if kind == "f1":
        return _ratio(2 * right, actual + predicted)
    return _ratio(right, actual + predicted - right)


def _positive_class(kind: str) -> Counts:
    def value(matrix: Values, observed: Values) -> Values:
        if kind == "precision" and observed[:, 1].sum() == 0:
            raise Undefined("precision is undefined where nothing is predicted as positive")
        return _per_class(kind, matrix)[..., 1]

    return Counts(value, binary=True)


def _macro(kind: str) -> Counts:
    def value(matrix: Values, observed: Values) -> Values:
        present = (observed.sum(axis=0) + observed.sum(axis=1)) > 0
        each = _per_class(kind, matrix)
        if kind == "precision":
            # A class that was never predicted has precision 0, however it is sampled.
            each = np.where(observed.sum(axis=0) > 0, each, 0)
        return each[..., present].mean(axis=-1)

    return Counts(value)


def _weighted(kind: str) -> Counts:
    def value(matrix: Values, observed: Values) -> Values:
        each = _per_class(kind, matrix)
        if kind == "precision":
            each = np.where(observed.sum(axis=0) > 0, each, 0)
        actual = matrix.sum(axis=-1)
        return (each * actual).sum(axis=-1) / actual.sum(axis=-1)

    return Counts(value)


def _balanced_accuracy(matrix: Values, observed: Values) -> Values:
    present = observed.sum(axis=1) > 0
    return _per_class("recall", matrix)[..., present].mean(axis=-1)


def _matthews(matrix: Values, observed: Values) -> Values:
    del observed
    total = matrix.sum(axis=(-1, -2))
    right = np.diagonal(matrix, axis1=-2, axis2=-1).sum(axis=-1)
    actual, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    covariance = right * total - (actual * predicted).sum(axis=-1)
    spread = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


def _rate(row: int, column: int) -> Counts:
    def value(matrix: Values, observed: Values) -> Values:
        del observed
        return matrix[..., row, column] / matrix[..., row, :].sum(axis=-1)

    return Counts(value, binary=True)


def _likelihood_ratio(column: int) -> Counts:
    def value(matrix: Values, observed: Values) -> Values:
        if observed[0, column] == 0:
            raise Undefined("the likelihood ratio is undefined: its false rate is zero")
        sensitive = matrix[..., 1, column] / matrix[..., 1, :].sum(axis=-1)
        return sensitive / (matrix[..., 0, column] / matrix[..., 0, :].sum(axis=-1))

    return Counts(value, binary=True)


# --- Hits --------------------------------------------------------------------------------------


def _right(scored: Scored) -> Booleans:
    return np.equal(scored.answers(), scored.codes())


def _selected(scored: Scored) -> Booleans:
    return np.equal(scored.answers(), scored.positive)


def _top(k: int) -> Hits:
    def hit(scored: Scored) -> Booleans:
        probabilities, codes = scored.probabilities(), scored.codes()
        if len(scored.labels) == 2:  # noqa: PLR2004
            if k > 1:
                return np.ones(len(scored), dtype=bool)
            positive: Booleans = probabilities[:, scored.positive] > 0.5  # noqa: PLR2004
            right: Booleans = positive == (codes == scored.positive)
            return right
        own = probabilities[np.arange(len(scored)), codes][:, None]
        later = np.arange(len(scored.labels))[None, :] > codes[:, None]
        # Ties go to the later label, as in scikit-learn.
        before = ((probabilities > own) | ((probabilities == own) & later)).sum(axis=1)
        hits: Booleans = before < k
        return hits

    return Hits(lambda scored: scored.kept(f"top {k}", lambda: hit(scored)))


# --- The registry ------------------------------------------------------------------------------

UNIT = (0.0, 1.0)
LOSS = (0.0, np.inf)
SCORE = (-np.inf, 1.0)


def _classification(
    name: str,
    family: Sums | Hits | Counts | Ranks,
    need: Need,
    bounds: tuple[float, float],
    *,
    greater: bool = True,
    classes: Literal["any", "binary"] = "any",
    both: bool = True,
) -> Metric:
    return Metric(
        name=name,
        tasks=frozenset[Task](("classification",)),
        greater_is_better=greater,
        needs=frozenset[Need]((need,)),
        bounds=bounds,
        family=family,
        classes=classes,
        both_classes=both,
    )


def _regression(
    name: str, family: Sums | Ranks, bounds: tuple[float, float], *, greater: bool
) -> Metric:
    return Metric(
        name=name,
        tasks=frozenset[Task](("regression",)),
        greater_is_better=greater,
        needs=frozenset[Need](("prediction",)),
        bounds=bounds,
        family=family,
        both_classes=False,
    )


def _registry() -> Mapping[str, Metric]:
    logloss, brier = _row_loss("log loss", _log_loss), _row_loss("brier", _brier)
    metrics = [
        _classification("accuracy", Hits(_right), "prediction", UNIT),
        _classification("balanced_accuracy", Counts(_balanced_accuracy), "prediction", UNIT),
        _classification("matthews_corrcoef", Counts(_matthews), "prediction", (-1.0, 1.0)),
        _classification("log_loss", logloss, "probability", LOSS, greater=False),
        _classification("brier_score", brier, "probability", (0.0, 2.0), greater=False),
        _classification(
            "d2_log_loss_score",
            Sums(_with_shares(logloss), _d2_log_loss),
            "probability",
            SCORE,
        ),
        _classification(
            "d2_brier_score", Sums(_with_shares(brier), _d2_brier), "probability", SCORE
        ),
        _classification("roc_auc", Ranks(ranking.roc_auc), "probability", UNIT, classes="binary"),
        _classification("average_precision", Ranks(ranking.average_precision), "probability", UNIT),
        _classification(
            "positive_likelihood_ratio",
            _likelihood_ratio(1),
            "prediction",
            LOSS,
            classes="binary",
        ),
        _classification(
            "negative_likelihood_ratio",
            _likelihood_ratio(0),
            "prediction",
            LOSS,
            greater=False,
            classes="binary",
        ),
        _classification("selection_rate", Hits(_selected), "prediction", UNIT, both=False),
        _classification("top_k_accuracy", _top(2), "probability", UNIT),
    ]
    for average in ("ovr", "ovr_weighted", "ovo", "ovo_weighted"):
        family = Ranks(ranking.MULTICLASS_AUC[average])
        metrics.append(_classification(f"roc_auc_{average}", family, "probability", UNIT))
    for rate, cell, greater in (
        ("true_positive_rate", (1, 1), True),
        ("false_negative_rate", (1, 0), False),
        ("true_negative_rate", (0, 0), True),
        ("false_positive_rate", (0, 1), False),
    ):
        metrics.append(
            _classification(
                rate, _rate(*cell), "prediction", UNIT, greater=greater, classes="binary"
            )
        )
    for kind in ("f1", "precision", "recall", "jaccard"):
        metrics.append(
            _classification(kind, _positive_class(kind), "prediction", UNIT, classes="binary")
        )
        metrics.append(_classification(f"{kind}_macro", _macro(kind), "prediction", UNIT))
        metrics.append(_classification(f"{kind}_weighted", _weighted(kind), "prediction", UNIT))
        micro = Hits(_right, _jaccard_micro) if kind == "jaccard" else Hits(_right)
        metrics.append(_classification(f"{kind}_micro", micro, "prediction", UNIT))
    squared = _row_loss("squared error", _squared)
    squared_log = _row_loss("squared log error", _squared_log)
    for name, family_ in (
        ("mean_absolute_error", _row_loss("absolute error", lambda s: np.abs(_residual(s)))),
        ("mean_squared_error", squared),
        ("root_mean_squared_error", Sums(squared.columns, _root)),
        ("mean_squared_log_error", squared_log),
        ("root_mean_squared_log_error", Sums(squared_log.columns, _root)),
        ("mean_absolute_percentage_error", _row_loss("percentage error", _absolute_percentage)),
        ("mean_poisson_deviance", _row_loss("poisson deviance", lambda s: _deviance(s, 1))),
        ("mean_gamma_deviance", _row_loss("gamma deviance", lambda s: _deviance(s, 2))),
        ("median_absolute_error", Ranks(ranking.median_absolute_error)),
    ):
        metrics.append(_regression(name, family_, LOSS, greater=False))
    for name, family__ in (
        ("r2", Sums(_regression_columns, _r2)),
        ("explained_variance", Sums(_regression_columns, _explained_variance)),
        ("d2_absolute_error_score", Sums(_d2_absolute_columns, _d2_absolute)),
    ):
        metrics.append(_regression(name, family__, SCORE, greater=True))
    return {metric.name: metric for metric in metrics}


def _jaccard_micro(share: Values) -> Values:
    return share / (2 - share)


_METRICS = _registry()

_REFUSED = {
    "max_error": "has no interval: the largest error of a sample says nothing of the next one",
}


def names(task: Task) -> list[str]:
    """Return the names of all metrics for the task, those with a free part left out."""
    found = [name for name, metric in _METRICS.items() if task in metric.tasks]
    negated = [
        f"neg_{name}"
        for name in found
        if not _METRICS[name].greater_is_better and not name.endswith("_rate")
    ]
    return sorted(found + negated)


def lookup(name: str, task: Task, *, classes: int | None = None, positive: bool = True) -> Metric:
    """Return the metric of this name.

    Args:
        name: a scikit-learn scorer name, its loss without `neg_`, `top_<k>_accuracy`,
            `pinball_<level>` or `loss_<name>`.
        task: "classification" or "regression".
        classes: number of labels of a classification, to refuse metrics that need two.
        positive: whether one of them is the positive class.

    Raises:
        UnknownMetric: it does not exist, or not for this task or number of labels.

    """
    metric = _find(name)
    if metric is None:
        near = difflib.get_close_matches(name, names(task), n=2, cutoff=0.6)
        refused = _REFUSED.get(name.removeprefix("neg_"))
        raise UnknownMetric(name, refused or "does not exist", [] if refused else near)
    if task not in metric.tasks:
        raise UnknownMetric(name, f"is not for a {task}", [])
    if classes is not None and classes != 2 and metric.classes == "binary":  # noqa: PLR2004
        near = [n for n in names(task) if n.startswith(f"{name}_") and _find(n) is not None][:3]
        raise UnknownMetric(name, f"needs two labels, and there are {classes}", near)
    if name == "selection_rate" and not positive:
        raise UnknownMetric(name, f"needs positive_label, since there are {classes} labels", [])
    return metric


def _find(name: str) -> Metric | None:
    if name in _METRICS:
        return _METRICS[name]
    if match := re.fullmatch(r"top_([1-9][0-9]{0,4})_accuracy", name):
        return replace(_METRICS["top_k_accuracy"], name=name, family=_top(int(match[1])))
    if match := re.fullmatch(r"loss_(\w+)", name):
        return Metric(
            name=name,
            tasks=frozenset[Task](("classification", "regression")),
            greater_is_better=None,
            needs=frozenset[Need](("loss",)),
            bounds=(-np.inf, np.inf),
            family=_own_loss(match[1]),
            both_classes=False,
        )
    if (match := re.fullmatch(r"pinball_(0?\.[0-9]+)", name)) and float(match[1]) > 0:
        return replace(
            _METRICS["mean_absolute_error"],
            name=name,
            needs=frozenset[Need](("quantile",)),
            family=_pinball(float(match[1])),
        )
    loss = _find(name[4:]) if re.match("neg_(?!neg_)", name) else None
    if loss is not None and loss.greater_is_better is False:
        return replace(
            loss,
            name=name,
            greater_is_better=True,
            bounds=(-loss.bounds[1], -loss.bounds[0]),
            negated=True,
        )
    return None
