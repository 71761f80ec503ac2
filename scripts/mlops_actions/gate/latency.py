"""What a model costs to run: decided on times that were measured in turns.

The ratio of a quantile of the candidate's times to the champion's has an interval from a bootstrap
of circular blocks of rounds (Politis & Romano 1992, in LePage & Billard, Exploring the Limits of
Bootstrap, 263): rounds that follow each other share the machine's moods. Like every requirement, a
bound must be shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions import evidence
from mlops_actions.config import Config, RunningCost
from mlops_actions.errors import Failure
from mlops_actions.evidence import Check, Status, check
from mlops_actions.gate.decision import Extra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Times = NDArray[np.float64]

BLOCK = 10  # Rounds.
FEWEST = 50
"""Rounds of single rows below which nothing is decided."""
FEWEST_BATCHES = 12
DRAWS = 2_000
CELLS = 2_000_000  # Times that are drawn at once, which bounds memory.
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def judge(config: Config, path: Path, *, champion: bool) -> Extra:
    """Judge the times in ``latency.json``.

    Args:
        config: with the bounds; without a section ``gate.latency`` nothing is asked.
        path: of the document.
        champion: whether there is one, which must then have been timed as well.

    """
    asked = config.gate.latency
    if asked is None:
        return Extra()
    try:
        times = _read(path, champion=champion)
    except Failure as problem:
        return Extra(checks=[check("latency", "inconclusive", message=problem.message)])
    confidence, seed = config.gate.confidence, config.gate.seed
    found = Extra(
        checks=_rules(asked, times, confidence, seed),
        sections={"latency": _section(times, confidence, seed)},
    )
    slow = {**times, "candidate": _slowed(asked, times)}
    answers = {item["status"] for item in _rules(asked, slow, confidence, seed)} - {"skipped"}
    if answers:
        found.mutants.append(("a model that takes twice what is allowed", "pass" not in answers))
    return found


def _rules(
    asked: RunningCost, times: Mapping[str, Mapping[str, Any]], confidence: float, seed: int
) -> list[Check]:
    checks = []
    mine, other = times["candidate"], times.get("champion")
    level = QUANTILES[asked.quantile]
    bounds = {"row": asked.max_row, "batch": asked.max_batch}
    for kind, bound in bounds.items():
        what = f"{asked.quantile} of {'one row' if kind == 'row' else f'{asked.batch} rows'}"
        if asked.max_ratio is not None:
            name = f"latency: {what}, ratio"
            if other is None:
                message = "There is no champion to be slower than."
                checks.append(check(name, "skipped", None, asked.max_ratio, message))
            else:
                found = interval(mine[kind], other[kind], level, confidence, seed)
                text = f"The {what} takes {{}} times as long as the champion's"
                checks.append(_shown(name, found, asked.max_ratio, text))
        if bound is not None:
            found = interval(mine[kind], None, level, confidence, seed)
            checks.append(
                _shown(f"latency: {what}", found, bound, f"The {what} takes {{}} milliseconds")
            )
    single = {"memory": asked.max_memory, "size": asked.max_model_size, "load": asked.max_load}
    words = {"memory": "peak memory, bytes", "size": "model size, bytes", "load": "loading, s"}
    for kind, most in single.items():
        if most is not None:
            value = mine[kind]
            status: Status = "pass" if value <= most else "fail"
            message = f"The {words[kind]}: {value:g}; at most {most:g} is allowed."
            said = None if status == "pass" else message
            checks.append(check(f"latency: {words[kind]}", status, value, most, said))
    return checks


def interval(
    mine: Times, other: Times | None, level: float, confidence: float, seed: int
) -> tuple[float, float, float]:
    """Give a quantile of times, or its ratio to another model's, with bounds.

    Args:
        mine: (n,) times.
        other: (n,) of the other model in the same rounds, or ``None``.
        level: of the quantile.
        confidence: of the two-sided interval.
        seed: of the draws.

    Returns:
        estimate, low, high: bounds are quantiles of `DRAWS` resamples of whole blocks.

    """
    count = len(mine)
    size = max(1, min(BLOCK, count // FEWEST_BATCHES))
    random = np.random.default_rng(seed)
    draws = np.empty(DRAWS)
    step = max(1, CELLS // count)
    for begin in range(0, DRAWS, step):
        part = draws[begin : begin + step]
        starts = random.integers(0, count, (len(part), -(-count // size), 1))
        rows = ((starts + np.arange(size)) % count).reshape(len(part), -1)[:, :count]
        part[:] = np.quantile(mine[rows], level, axis=1)
        if other is not None:
            part /= np.quantile(other[rows], level, axis=1)
    estimate = np.quantile(mine, level)
    if other is not None:
        estimate = estimate / np.quantile(other, level)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(estimate), float(low), float(high)


def _shown(name: str, found: tuple[float, float, float], most: float, text: str) -> Check:
    estimate, low, high = found
    status: Status = "inconclusive"
    if high <= most:
        status = "pass"
    elif low > most:
        status = "fail"
    message = None
    if status != "pass":
        message = (
            f"{text.format(f'{estimate:.3g}')} (interval {low:.3g} to {high:.3g}); at most "
            f"{most:g} is allowed."
        )
        if status == "inconclusive":
            message += " The interval leaves it open: more rounds may decide."
    return check(name, status, estimate, most, message, low=low, high=high)


def _section(
    times: Mapping[str, Mapping[str, Any]], confidence: float, seed: int
) -> dict[str, Any]:
    """Give every quantile of both models, and what was measured once."""
    mine, other = times["candidate"], times.get("champion")
    rows = []
    for kind in ("row", "batch"):
        for name, level in QUANTILES.items():
            ratio = None
            if other is not None:
                found = interval(mine[kind], other[kind], level, confidence, seed)
                ratio = dict(zip(("estimate", "low", "high"), found, strict=True))
            rows.append(
                {
                    "what": kind,
                    "quantile": name,
                    "rounds": len(mine[kind]),
                    "candidate": float(np.quantile(mine[kind], level)),
                    "champion": None if other is None else float(np.quantile(other[kind], level)),
                    "ratio": ratio,
                }
            )
    once = {
        side: {kind: one[kind] for kind in ("load", "memory", "size")}
        for side, one in times.items()
    }
    return {"unit": "ms", "times": rows, "once": once}


def _slowed(asked: RunningCost, times: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make the candidate take twice the most that a rule allows, of each kind."""
    mine, other = dict(times["candidate"]), times.get("champion")
    level = QUANTILES[asked.quantile]
    for kind, bound in (("row", asked.max_row), ("batch", asked.max_batch)):
        now = float(np.quantile(mine[kind], level))
        allowed = [bound] if bound is not None else []
        if asked.max_ratio is not None and other is not None:
            allowed.append(asked.max_ratio * float(np.quantile(other[kind], level)))
        if allowed and now > 0:
            mine[kind] = mine[kind] * (2 * max(allowed) / now)
    single = {"memory": asked.max_memory, "size": asked.max_model_size, "load": asked.max_load}
    return mine | {kind: 2.0 * most for kind, most in single.items() if most is not None}


def _read(path: Path, *, champion: bool) -> dict[str, dict[str, Any]]:
    """Read the document; what is missing or no positive number is no measurement."""
    if not path.is_file():
        raise Failure("Nothing was timed.")
    document = evidence.read_json(path)
    found: dict[str, dict[str, Any]] = {}
    for side in ("candidate", "champion"):
        given = document.get(side)
        if given is None and (side == "candidate" or champion):
            raise Failure(f"The {side} was not timed.")
        if given is None:
            continue
        try:
            one: dict[str, Any] = {
                kind: np.asarray(given[kind], dtype=np.float64) for kind in ("row", "batch")
            }
            one |= {kind: float(given[kind]) for kind in ("load", "memory", "size")}
        except (KeyError, TypeError, ValueError, OverflowError):
            raise Failure(f"The times of the {side} cannot be read.") from None
        for kind, fewest in (("row", FEWEST), ("batch", FEWEST_BATCHES)):
            times = one[kind]
            if times.ndim != 1 or not np.isfinite(times).all() or not (times > 0).all():
                raise Failure(f"A time of the {side} is no positive number.")
            if len(times) < fewest:
                raise Failure(f"The {side} was timed {len(times)} times only: {kind}.")
        if not all(math.isfinite(one[kind]) and one[kind] > 0 for kind in ("memory", "size")):
            raise Failure(f"Memory or size of the {side} is no positive number.")
        if not (math.isfinite(one["load"]) and one["load"] >= 0):
            raise Failure(f"The loading time of the {side} is no number.")
        found[side] = one
    if len(found) > 1 and any(
        len(found["candidate"][kind]) != len(found["champion"][kind]) for kind in ("row", "batch")
    ):
        raise Failure("Candidate and champion were not timed in turns.")
    return found
