"""Shell characters and paths in every input of a workflow: words, never commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Consumer
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow
YAML_FILE = YAML()
HOSTILE = [
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "a\ntouch pwned",
    "-h",
    "../outside",
]


def call_with(consumer: Consumer, workflow: str, **inputs: str) -> None:
    path = consumer.folder / ".github" / "workflows" / workflow
    document = YAML_FILE.load(path)
    (job,) = document["jobs"].values()
    job.setdefault("with", {}).update(inputs)
    YAML_FILE.dump(document, path)
    consumer.commit("Hostile inputs")


def pwned(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("pwned")]


@pytest.mark.parametrize("name", ["config", "working-directory"])
@pytest.mark.parametrize("value", HOSTILE)
def test_an_input_is_never_a_command(
    generated: Consumer, tmp_path: Path, name: str, value: str
) -> None:
    call_with(generated, "quality-gate.yml", **{name: value})
    generated.branch("hostile")
    generated.replace("README.md", r"\A", "Prose.\n")
    generated.commit("Prose")
    run = generated.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert not pwned(tmp_path, Path.cwd())
    errors = [item.message for item in run.annotations if item.level == "error"]
    assert any(
        said in error
        for error in errors
        for said in ("no such file", "is not a folder", "outside the repository", "expected")
    ), errors
    assert "Traceback" not in run.log
