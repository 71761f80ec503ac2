"""Scoring: which predictions of the champion are used again. The scoring itself: end_to_end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_actions import evidence, score


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A baseline whose version was judged on a release set."""
    kept = tmp_path / "evidence"
    path = kept / "predictions" / "release" / "candidate.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"predictions")
    document = {"evaluation": {"release": {"digest": "a"}, "regression": {"digest": "b"}}}
    evidence.write_json(kept / "data.json", document)
    return tmp_path


def test_predictions_on_the_same_set_are_used_again(baseline: Path) -> None:
    found = score.stored_predictions(baseline, "release", "a")
    assert found is not None
    assert found.read_bytes() == b"predictions"


def test_a_set_is_the_same_by_its_digest_not_by_its_name(baseline: Path) -> None:
    assert score.stored_predictions(baseline, "development", "a") is not None
    assert score.stored_predictions(baseline, "release", "changed") is None


def test_predictions_that_were_not_kept_are_not_found(baseline: Path) -> None:
    assert score.stored_predictions(baseline, "regression", "b") is None


def test_a_baseline_without_evidence_has_none(tmp_path: Path) -> None:
    assert score.stored_predictions(tmp_path, "release", "a") is None
