"""The verdict of a smoke run, on files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gate_files
import polars as pl
import pytest

from mlops_actions import evidence
from mlops_actions.config import Project
from mlops_actions.gate.handover import Handover
from mlops_actions.gate.smoke import judge_smoke

HEAD = f"""{gate_files.HEAD.replace("gate:", "pull-request: smoke")}\
smoke: {{command: x, metric: roc_auc, floor: 0.6, max_loss: 0.02}}
gate:
"""


@pytest.fixture
def loaded() -> Project:
    return gate_files.project("metrics: {roc_auc: {threshold: 0.5}}", head=HEAD)


def handed(folder: Path, base: pl.DataFrame | None, *, noise: float = 0.3) -> Handover:
    """Hand over a candidate and the base branch's predictions, as the job model does."""
    rows = gate_files.rows()
    place = folder / "predictions" / "development"
    place.mkdir(parents=True)
    (folder / "evaluation").mkdir()
    rows.rename({"id": "row", "target": "late"}).write_parquet(
        folder / "evaluation" / "development.parquet"
    )
    gate_files.answers(rows, noise=noise).write_parquet(place / "candidate.parquet")
    told = evidence.check("base_branch", "skipped", message="it has no smoke command")
    if base is not None:
        told = evidence.check("base_branch", "pass")
        gate_files.answers(base).write_parquet(place / "base.parquet")
    data: dict[str, Any] = {
        "evaluation": {"development": {"keys": {"file": "evaluation/development.parquet"}}}
    }
    return Handover(
        folder=folder, data=data, trained={"checks": [told]}, baseline={}, baseline_folder=folder
    )


def judged(loaded: Project, received: Handover) -> tuple[str, dict[str, evidence.Check]]:
    verdict, checks, _ = judge_smoke(loaded, received)
    return verdict, {item["name"]: item for item in checks}


def test_a_model_like_the_base_branchs_passes(loaded: Project, tmp_path: Path) -> None:
    verdict, checks = judged(loaded, handed(tmp_path, gate_files.rows()))
    assert verdict == "passed"
    assert checks["smoke.floor"]["status"] == checks["smoke.max_loss"]["status"] == "pass"


def test_a_model_that_is_worse_fails(loaded: Project, tmp_path: Path) -> None:
    verdict, checks = judged(loaded, handed(tmp_path, gate_files.rows(), noise=3.0))
    assert verdict == "failed"
    assert checks["smoke.floor"]["status"] == "pass"
    assert "worse than the base branch's" in checks["smoke.max_loss"]["message"]


def test_noise_is_below_the_floor_without_a_base_branch(loaded: Project, tmp_path: Path) -> None:
    verdict, checks = judged(loaded, handed(tmp_path, None, noise=100.0))
    assert verdict == "failed"
    assert checks["smoke.floor"]["status"] == "fail"
    assert checks["smoke.max_loss"]["status"] == "skipped"


def test_other_rows_are_said_to_be_no_comparison(loaded: Project, tmp_path: Path) -> None:
    verdict, checks = judged(loaded, handed(tmp_path, gate_files.rows(count=300)))
    assert verdict == "failed"
    said = checks["development: champion ids"]["message"]
    assert "The base branch's model is not for these rows" in said
    assert "the label full-training can" in said
