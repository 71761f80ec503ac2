"""Two models in one repository, in one matrix: each with its own report, artifact and version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Consumer
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow
YAML_FILE = YAML()


@pytest.fixture
def pair(generated: Consumer, tmp_path: Path) -> Consumer:
    """The flights model twice, in folders of one repository."""
    both = Consumer(tmp_path / "pair")
    for name in ("late", "later"):
        shutil.copytree(
            generated.folder,
            both.folder / "models" / name,
            ignore=shutil.ignore_patterns(".git", ".github", ".mlops-local"),
        )
        model = Consumer(both.folder / "models" / name)
        model.replace("mlops.yaml", r"^name: .*", f"name: {name}")
    both.replace("models/later/params.yaml", r"^(\s+late_after:) \d+", r"\1 20")
    workflows = both.folder / ".github" / "workflows"
    shutil.copytree(generated.folder / ".github" / "workflows", workflows)
    for file in sorted(workflows.glob("*.yml")):
        document = YAML_FILE.load(file)
        for job in document["jobs"].values():
            job["strategy"] = {"fail-fast": False, "matrix": {"model": ["late", "later"]}}
            job.setdefault("with", {})["working-directory"] = "models/${{ matrix.model }}"
        YAML_FILE.dump(document, file)
    both.git("init", "--quiet", "--initial-branch", "main")
    both.commit("Two models")
    return both


def test_two_models_in_one_repository(pair: Consumer) -> None:
    run = pair.happens("push")
    assert run.green, run.log[-5000:]
    outputs = {o["model"]: o for key, o in run.outputs.items() if "/" not in key}
    assert set(outputs) == {"late", "later"}
    assert {o["version"] for o in outputs.values()} == {"1"}
    names = {path.name for path in run.artifacts.glob("*/*")}
    assert {"mlops-late-report", "mlops-later-report"} <= names
    listed = run.git("ls-tree", "-r", "--name-only", "mlops-state")
    assert "registry/artifacts/late/" in listed
    assert "registry/artifacts/later/" in listed
    pair.branch("worse")
    pair.replace("models/later/params.yaml", r"^(\s+max_iter:).*", r"\1 5")
    pair.commit("Make one of them worse")
    run = pair.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert len(run.comments) == 2  # One report a model.
    verdicts = {o["model"]: o["verdict"] for key, o in run.outputs.items() if "/" not in key}
    assert verdicts["later"] == "rejected"
    assert verdicts["late"] in {"unchanged", "blessed"}
