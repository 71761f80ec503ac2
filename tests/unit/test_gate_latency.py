"""Latency: shown or not, and never on times that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_files import project

from mlops_actions.gate import latency

GATE = "metrics: {roc_auc: {threshold: 0.7}}\nlatency: "


def times(slower: float = 1.0, *, rounds: int = 200, seed: int = 0) -> dict[str, Any]:
    """Two models on a machine whose mood changes slowly and hits both."""
    random = np.random.default_rng(seed)
    mood = np.exp(0.5 * np.sin(np.arange(rounds) / 20))
    found: dict[str, Any] = {}
    for side, factor in (("candidate", slower), ("champion", 1.0)):
        row = factor * mood * (1 + 0.05 * random.gamma(2, size=rounds))
        found[side] = {
            "row": row.tolist(), "batch": (20 * row[::4]).tolist(),
            "load": 0.5, "memory": 2e8, "size": 1e6,
        }  # fmt: skip
    return found


def judge(folder: Path, asked: str, document: object, *, champion: bool = True) -> Any:
    path = folder / "latency.json"
    path.write_text(json.dumps(document))
    return latency.judge(project(GATE + asked).config, path, champion=champion)


def statuses(found: Any) -> set[str]:
    return {item["status"] for item in found.checks}


def test_nothing_is_asked_without_the_section(tmp_path):
    config = project("metrics: {roc_auc: {threshold: 0.7}}").config
    assert latency.judge(config, tmp_path / "none", champion=True).checks == []


@pytest.mark.parametrize(
    ("slower", "expected"), [(1.0, {"pass"}), (1.47, {"inconclusive"}), (2.0, {"fail"})]
)
def test_the_ratio_must_be_shown(tmp_path, slower, expected):
    found = judge(tmp_path, "{max_ratio: 1.5}", times(slower))
    assert statuses(found) == expected
    assert found.mutants == [("a model that takes twice what is allowed", True)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("{max_row: 50}", "pass"), ("{max_row: 0.1}", "fail"),
        ("{max_batch: 500}", "pass"), ("{max_batch: 1}", "fail"),
        ("{max_memory: 200000000}", "pass"), ("{max_memory: 199999999}", "fail"),
        ("{max_model_size: 1000000}", "pass"), ("{max_model_size: 10}", "fail"),
        ("{max_load: 0.5}", "pass"), ("{max_load: 0.4}", "fail"),
    ],
)  # fmt: skip
def test_absolute_bounds(tmp_path, asked, expected):
    assert statuses(judge(tmp_path, asked, times())) == {expected}


def test_a_first_model_has_nobody_to_be_slower_than(tmp_path):
    document = times()
    del document["champion"]
    found = judge(tmp_path, "{max_ratio: 1.5, max_row: 50}", document, champion=False)
    assert [item["status"] for item in found.checks] == ["skipped", "pass", "skipped"]
    assert found.sections["latency"]["times"][0]["ratio"] is None


def _no_champion(document):
    del document["champion"]


def _few(document):
    for side in document.values():
        side["row"] = side["row"][:49]


def _few_batches(document):
    for side in document.values():
        side["batch"] = side["batch"][:5]


def _not_in_turns(document):
    document["candidate"]["row"].pop()


def _zero(document):
    document["candidate"]["row"][3] = 0


def _nan(document):
    document["champion"]["row"][3] = "NaN"


def _missing(document):
    del document["candidate"]["memory"]


def _text(document):
    document["candidate"]["batch"] = "fast"


@pytest.mark.parametrize(
    "spoil", [_no_champion, _few, _few_batches, _not_in_turns, _zero, _nan, _missing, _text]
)
def test_times_that_are_none_decide_nothing(tmp_path, spoil):
    document = times()
    spoil(document)
    found = judge(tmp_path, "{max_ratio: 1.5}", document)
    assert statuses(found) == {"inconclusive"}
    assert found.checks[0]["message"]


def test_a_model_that_was_not_timed_decides_nothing(tmp_path):
    config = project(GATE + "{max_ratio: 1.5}").config
    assert statuses(latency.judge(config, tmp_path / "none", champion=True)) == {"inconclusive"}


def test_equal_models_are_rarely_called_slow_and_the_interval_covers():
    covered = low_enough = 0
    runs = 60
    for seed in range(runs):
        document = times(1.2, seed=seed)
        mine, other = (np.asarray(document[side]["row"]) for side in ("candidate", "champion"))
        _, low, high = latency.interval(mine, other, 0.5, 0.95, 0)
        covered += low <= 1.2 <= high
        low_enough += low <= 1.2
    assert covered >= 0.85 * runs
    assert low_enough >= 0.9 * runs
