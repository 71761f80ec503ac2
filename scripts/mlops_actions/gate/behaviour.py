"""Behaviour: what a change of the input may do to the answer, case by case.

The words are those of behavioural testing (Ribeiro, Wu, Guestrin & Singh 2020, ACL, 4902):
invariance, directional expectation, minimum functionality. A case is judged on the rows that were
tried, not on a population: it is a test, not an estimate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import numpy as np
import polars as pl

from mlops_actions.config import Behaviour, Config, Direction, Functionality, Invariance
from mlops_actions.errors import Failure
from mlops_actions.evidence import Check, check, json_safe
from mlops_actions.gate.decision import Extra
from mlops_actions.gate.probed import Answers, read_answers, read_frame
from mlops_actions.probe import BASE, CASE, PLAN, ROWS, TESTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SHOWN = 5  # Rows of a failing case.
_LARGEST_XML = 10_000_000  # Bytes.
_LONGEST = 2_000  # Characters of a test's own message.

Case = Invariance | Direction | Functionality


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Tried:
    """A case's rows, and the answers to them before and after the change.

    Attributes:
        frame: (n rows) as the model saw them.
        before: its answers to the same rows unchanged; for minimum functionality the same as after.
        after: its answers.

    """

    frame: pl.DataFrame
    before: Answers
    after: Answers


def judge(config: Config, folder: Path) -> Extra:
    """Judge every case of ``gate.behaviour`` on the files in ``folder``.

    Reads the plan, the changed rows and the candidate's answers that `probe` left there. What
    cannot be read is an inconclusive check, never an error.
    """
    asked = config.gate.behaviour
    if asked is None:
        return Extra()
    found = Extra()
    cases: list[Case] = [*asked.invariance, *asked.directional, *asked.minimum_functionality]
    if cases:
        _cases(config, cases, folder, found)
    if asked.tests is not None:
        found.checks += _tests(asked, folder / TESTS)
    return found


def _cases(config: Config, cases: Sequence[Case], folder: Path, found: Extra) -> None:
    try:
        plan = read_frame(folder / PLAN, "The plan of changed rows")
        frame = read_frame(folder / ROWS, "The file of changed rows")
        if plan.height != frame.height or plan.columns != ["case", "id"]:
            raise Failure("The plan and the changed rows do not fit each other.")
        answers = read_answers(folder / "candidate.parquet", config, plan.height, "candidate")
        tried = {case.name: _tried(case, plan, frame, answers) for case in cases}
    except Failure as problem:
        found.checks.append(check("behaviour", "inconclusive", message=problem.message))
        return
    for case in cases:
        one = tried[case.name]
        bad, text = _bad(config, case, one.before, one.after)
        found.checks.append(_said(config, case, one, bad, text))
        damaged, _ = _bad(config, case, one.before, _damaged(config, case, one))
        noticed = damaged is None or bool(damaged.mean() > _share(case))
        found.mutants.append((f"answers that break {case.name}", noticed))


def _tried(case: Case, plan: pl.DataFrame, frame: pl.DataFrame, answers: Answers) -> _Tried:
    """Find a case's rows and, by id, the same rows as they were."""
    names = plan["case"].to_numpy()
    rows = np.flatnonzero(names == CASE + case.name)
    if not len(rows):
        raise Failure(f"The case {case.name} was not tried.")
    after = answers[rows]
    if isinstance(case, Functionality):
        if len(rows) != len(case.rows):
            raise Failure(f"The case {case.name} was tried on other rows.")
        return _Tried(frame=frame[rows], before=after, after=after)
    base = np.flatnonzero(names == BASE)
    place = {identifier: at for at, identifier in zip(base, plan["id"][base], strict=True)}
    try:
        before = np.array([place[identifier] for identifier in plan["id"][rows]])
    except KeyError:
        raise Failure(f"The case {case.name} was tried on other rows.") from None
    return _Tried(frame=frame[rows], before=answers[before], after=after)


def _bad(config: Config, case: Case, before: Answers, after: Answers) -> tuple[Array | None, str]:
    """Say which rows (n,) break a case, and what it asks; ``None`` where that cannot be said."""
    if isinstance(case, Invariance):
        moved = after.moved(before, config)
        return moved > case.max_change + 1e-12, f"may move by {case.max_change:g} at most"
    if isinstance(case, Direction):
        first, second = before.number(config), after.number(config)
        if first is None or second is None:
            return None, "needs probabilities, which the model does not give"
        rise = second - first if case.expect == "increase" else first - second
        word = "fall" if case.expect == "increase" else "rise"
        return rise < -case.tolerance - 1e-12, f"may {word} by {case.tolerance:g} at most"
    bad = np.zeros(len(after.prediction), dtype=bool)
    asked = []
    if case.expect is not None:
        expected = case.expect
        bad |= np.array([_other(answer, expected) for answer in after.prediction])
        asked.append(f"must be {expected}")
    if case.min is not None or case.max is not None:
        number = after.number(config)
        if number is None:
            return None, "needs probabilities, which the model does not give"
        if case.min is not None:
            bad |= number < case.min
            asked.append(f"must be at least {case.min:g}")
        if case.max is not None:
            bad |= number > case.max
            asked.append(f"must be at most {case.max:g}")
    return bad, " and ".join(asked)


def _other(answer: object, expected: object) -> bool:
    answer = answer.item() if isinstance(answer, np.generic) else answer
    if isinstance(answer, float) and not isinstance(expected, (str, bool)):
        return answer != expected
    return type(answer) is not type(expected) or answer != expected


def _share(case: Case) -> float:
    return 0.0 if isinstance(case, Functionality) else case.max_share


def _said(config: Config, case: Case, one: _Tried, bad: Array | None, text: str) -> Check:
    kind = {
        Invariance: "invariance", Direction: "directional", Functionality: "minimum functionality",
    }[type(case)]  # fmt: skip
    name = f"behaviour: {kind}: {case.name}"
    most = _share(case)
    if bad is None:
        message = f"Behaviour, {case.name}: the case {text}."
        return check(name, "inconclusive", None, most, message)
    share = float(bad.mean())
    if share <= most:
        return check(name, "pass", share, most, rows=len(bad))
    allowed = f"; {most:.1%} may" if most else ""
    message = (
        f"Behaviour, {case.name}: {int(bad.sum()):,} of {len(bad):,} answers break it{allowed}. "
        f"An answer {text}."
    )
    return check(
        name,
        "fail",
        share,
        most,
        message,
        rows=len(bad),
        examples=_examples(config, case, one, bad),
    )


def _examples(config: Config, case: Case, one: _Tried, bad: Array) -> list[dict[str, Any]]:
    """Give rows that break a case: what was changed, and the answers before and after."""
    if isinstance(case, Invariance):
        columns = list(case.change)
    elif isinstance(case, Direction):
        columns = list(case.add)
    else:
        columns = list(dict.fromkeys(name for row in case.rows for name in row))
    hidden = set(config.sensitive)
    shown: list[dict[str, Any]] = []
    for place in np.flatnonzero(bad)[:SHOWN]:
        row: dict[str, Any] = {}
        if not isinstance(case, Functionality) and config.id not in hidden:
            row[config.id] = one.frame[config.id][int(place)]
        row |= {name: one.frame[name][int(place)] for name in columns if name not in hidden}
        if not isinstance(case, Functionality):
            row["answer before"] = _answer(config, one.before, place)
        row["answer"] = _answer(config, one.after, place)
        shown.append(json_safe(row))
    return shown


def _answer(config: Config, answers: Answers, place: int) -> object:
    number = answers.number(config)
    value = answers.prediction[place] if number is None else number[place]
    value = value.item() if isinstance(value, np.generic) else value
    return round(value, 6) if isinstance(value, float) else value


def _damaged(config: Config, case: Case, one: _Tried) -> Answers:
    """Make answers that break a case in every row: the self-test's."""
    after = one.after

    def away(values: Array, by: float) -> Array:
        # As a share of large numbers, in which a small step would be lost.
        moved: Array = values + by * np.maximum(1.0, np.abs(values))
        return moved

    if isinstance(case, Invariance):
        far = 2 * case.max_change + 1e-6
        return _stepped(config, one.before, lambda values: away(values, far))
    if isinstance(case, Direction):
        sign = -1.0 if case.expect == "increase" else 1.0
        by = sign * (2 * case.tolerance + 1e-6)
        return _stepped(config, one.before, lambda values: away(values, by))
    prediction = after.prediction
    if case.expect is not None:
        others = [label for label in config.labels or [] if label != case.expect]
        wrong = others[0] if others else f"not {case.expect}"
        prediction = np.array([wrong] * len(prediction), dtype=object)
    damaged = dataclasses.replace(after, prediction=prediction)
    if case.min is None and case.max is None:
        return damaged
    bound = case.min - 1 if case.min is not None else (case.max or 0) + 1
    return _stepped(config, damaged, lambda values: np.full_like(values, bound))


def _stepped(config: Config, answers: Answers, step: Callable[[Array], Array]) -> Answers:
    if not config.labels:
        return dataclasses.replace(answers, prediction=step(answers.prediction.astype(np.float64)))
    if answers.probability is not None:
        return dataclasses.replace(answers, probability=step(answers.probability))
    others = np.array(config.labels, dtype=object)
    wrong = [next(label for label in others if label != one) for one in answers.prediction]
    return dataclasses.replace(answers, prediction=np.array(wrong, dtype=object))


# --- The user's own tests ----------------------------------------------------------------------


@dataclasses.dataclass(kw_only=True)
class _Test:
    name: str
    outcome: str = "passed"
    message: str = ""


class _Results:
    """Reads JUnit XML; a document type, and so every entity, is refused."""

    def __init__(self) -> None:
        self.tests: list[_Test] = []

    def read(self, path: Path) -> list[_Test]:
        """Give the tests, in their order.

        Raises :class:`Failure` where the file is missing, too large or not what pytest writes.
        """
        if not path.is_file():
            raise Failure("The tests of behaviour did not run.")
        if path.stat().st_size > _LARGEST_XML:
            raise Failure("The results of the tests of behaviour are too large.")
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(path.read_bytes(), True)
        except expat.ExpatError as problem:
            raise Failure(f"The results of the tests of behaviour are no XML: {problem}.") from None
        return self.tests

    def _doctype(self, *_: object) -> None:
        raise Failure("The results of the tests of behaviour have a document type.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "testcase":
            self.tests.append(_Test(name=attributes.get("name", "unnamed")[:200]))
        elif name in {"failure", "error", "skipped"} and self.tests:
            self.tests[-1].outcome = name
            self.tests[-1].message = attributes.get("message", "")[:_LONGEST]


def _tests(asked: Behaviour, path: Path) -> list[Check]:
    name = f"behaviour: {asked.tests}"
    try:
        tests = _Results().read(path)
    except Failure as problem:
        return [check(name, "inconclusive", message=problem.message)]
    failed = [test for test in tests if test.outcome in {"failure", "error"}]
    passed = [test for test in tests if test.outcome == "passed"]
    found = [
        check(
            f"{name}: {test.name}",
            "fail",
            test.outcome,
            "passed",
            f"Behaviour, {test.name}: {' '.join(test.message.split())[:300] or test.outcome}",
            examples=[{"assertion": line} for line in test.message.splitlines()[:SHOWN] if line],
        )
        for test in failed[:50]
    ]
    if not failed and not passed:
        found.append(check(name, "inconclusive", 0, 1, f"No test of {asked.tests} was run."))
    elif not failed:
        found.append(check(name, "pass", len(passed), len(passed)))
    return found
