"""Shell characters and paths in every string that comes from outside: words, never commands.

The lines of the actions themselves are run with hostile values by ``contract/test_shell.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Consumer
from ruamel.yaml import YAML
from test_server import misbehaving
from test_stages import CONFIG, Stages, tiny

from mlops_actions.errors import Failure
from mlops_actions.local import LocalRun
from mlops_actions.registry.store import ServerRegistry, quiet

__all__ = ["tiny"]  # The fixture.
pytestmark = pytest.mark.slow
YAML_FILE = YAML()
PUBLIC = {
    path.stem: on["workflow_call"]
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    if "workflow_call" in (on := YAML_FILE.load(path)["on"])
}
STRINGS = [
    (workflow, name)
    for workflow, call in PUBLIC.items()
    for name, declared in call["inputs"].items()
    if declared["type"] == "string"
]


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A file that no test makes: its place is absolute, so that nobody's cleaning hides it."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()


def hostile(mark: Path) -> str:
    """Every way in which a shell could come to run a value, in one value."""
    run = f"touch {mark}"
    return f"$({run})'$({run})'`{run}`\"; {run}; \"\n{run}\n"


def call(consumer: Consumer, workflow: str, inputs: dict[str, str], **secrets: str) -> LocalRun:
    """Call a public workflow, with the secrets that it declares."""
    job = {
        "uses": f"mlops-actions/mlops-actions/.github/workflows/{workflow}.yml@main",
        "with": inputs,
        "secrets": {name: f"${{{{ secrets.{name} }}}}" for name in PUBLIC[workflow]["secrets"]},
    }
    document = {"name": "Hostile", "on": "workflow_dispatch", "jobs": {"call": job}}
    YAML_FILE.dump(document, consumer.folder / ".github" / "workflows" / "hostile.yml")
    consumer.commit("Hostile inputs")
    run = consumer.happens("workflow_dispatch", workflow="hostile.yml", secrets=secrets)
    assert "Traceback" not in run.log
    return run


def errors(run: LocalRun) -> list[str]:
    """What the run says of its failure."""
    return [item.message for item in run.annotations if item.level == "error"] + run.problems


@pytest.mark.parametrize(("workflow", "name"), STRINGS)
def test_an_input_is_never_a_command(
    generated: Consumer, mark: Path, workflow: str, name: str
) -> None:
    run = call(generated, workflow, {name: hostile(mark)})
    assert errors(run) or (run.green and workflow == "rescan")  # No image is in use here.


@pytest.mark.parametrize("name", ["config", "working-directory"])
@pytest.mark.parametrize("value", ["-h", "../outside"])
def test_a_path_is_no_option_and_stays_inside(generated: Consumer, name: str, value: str) -> None:
    run = call(generated, "quality-gate", {name: value})
    assert not run.green
    said = ("no such file", "is not a folder", "outside the repository")
    assert any(word in error for error in errors(run) for word in said), errors(run)


@pytest.mark.parametrize("workflow", PUBLIC)
def test_a_secret_is_never_a_command(generated: Consumer, mark: Path, workflow: str) -> None:
    secrets = dict.fromkeys(PUBLIC[workflow]["secrets"], hostile(mark))
    run = call(generated, workflow, {}, **secrets)
    assert not run.green
    assert errors(run)


def test_a_secret_env_that_is_no_list_of_variables_is_refused(
    generated: Consumer, mark: Path
) -> None:
    run = call(generated, "quality-gate", {}, ENV=f"KEY={hostile(mark)}")
    assert not run.green
    assert any("The secret ENV: line 2 is not KEY=VALUE" in error for error in errors(run))
    assert str(mark) not in run.log  # Each value is masked, the line that is none too.


def test_a_hostile_branch_label_and_variable_go_all_the_way(
    generated: Consumer, mark: Path
) -> None:
    value = hostile(mark).splitlines()[0]
    generated.branch(f"$(touch${{IFS}}{mark})`touch${{IFS}}{mark}`")
    generated.replace(
        "model/train.py",
        r"^(import .*)",
        rf"\1\nimport os\nassert {value!r} == os.environ['KEY']\n",
    )
    generated.commit("Its own code gets the value as it is")
    run = generated.happens(
        "pull_request",
        workflow="quality-gate.yml",
        secrets={"ENV": f"KEY={value}"},
        labels=[hostile(mark)],
    )
    assert run.green, run.log[-5000:]
    assert len(run.comments) == 1


@pytest.mark.parametrize("name", ["TOKEN", "USERNAME", "PASSWORD"])
def test_a_credential_is_never_a_command(
    mark: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    quiet()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", hostile(mark))
    with misbehaving(401) as address, pytest.raises(Failure) as problem:
        ServerRegistry(address).aliases("m")
    assert str(mark) not in str(problem.value)  # Nor quoted: a report may show the message.


# A line of mlops.yaml each, for the value between the words.
STRINGS_OF_CONFIG = [
    "name: <>",
    "target: <>",
    "labels: [0, <>]",
    "positive_label: <>",
    "id: <>",
    "group: <>",
    "weight: <>",
    "time: <>",
    "sensitive: [<>]",
    "score: <>",
    "data: {training: <>, evaluation: evaluation.csv}",
    "data: {training: training.csv, evaluation: <>}",
    "data: {training: training.csv, evaluation: {development: <>, release: evaluation.csv}}",
    "data: {FILES, command: <>}",
    "data: {FILES, schema: <>}",
    "data: {FILES, gap: <>}",
    "data: {FILES, checks: {max_null_fraction: {<>: 0.1}}}",
    "train: {command: <>}",
    "train: {command: python job.py, stage: <>}",
    "train: {timeout: <>}",
    "gate: {metrics: {<>: {threshold: 0.5}}}",
    "gate: {metrics: {roc_auc: {threshold: 0.5}}, slices: [{columns: [<>]}]}",
    "<>: 1",
]


def stop(stages: Stages) -> None:
    """Run the stages until one of them fails, by a message of ours."""
    for stage in (stages.validate, stages.train, stages.score):
        if stage() != 0:
            raise Failure("A check failed.")


@pytest.mark.parametrize("line", STRINGS_OF_CONFIG)
def test_a_string_of_the_configuration_is_never_a_command(
    tiny: Consumer, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    key = line.partition(":")[0]
    lines = [one for one in CONFIG.splitlines() if not one.startswith(f"{key}:")]
    value = json.dumps(hostile(mark))  # YAML reads it as the same string.
    line = line.replace("FILES", "training: training.csv, evaluation: evaluation.csv")
    (tiny.folder / "mlops.yaml").write_text("\n".join([*lines, line.replace("<>", value)]))
    (tiny.folder / "job.py").write_text("")
    with pytest.raises(Failure):
        stop(Stages(tiny, tmp_path / "work"))
