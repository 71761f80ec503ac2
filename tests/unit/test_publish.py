"""Publishing: only what was judged, only when blessed, only on the default branch."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlops_actions import config, evidence, github, pipeline, publish
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.registry import baseline
from mlops_actions.registry.store import EVIDENCE, EmbeddedRegistry, ServerRegistry, quiet
from mlops_actions.state import BRANCH, Branch, Checkout

CONFIG = """\
name: tiny
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""
RUN: dict[str, Any] = {
    "schema": 1, "run_id": "a" * 32, "name": "kind-fox", "status": "FINISHED",
    "start": 1000, "end": 2000, "params": {"depth": "3"},
    "metrics": {"r2": [{"value": 0.5, "timestamp": 1500, "step": 0}]},
    "tags": {"team": "flights"}, "datasets": [{"name": "training", "digest": "abc"}],
    "model": {"name": "model", "params": {}},
}  # fmt: skip

DATA: dict[str, Any] = {
    "training": {"cutoff": "2013-10-01", "digest": "d" * 64, "rows": 7},
    "evaluation": {},
}


def make_handover(folder: Path, *, verdict: str = "blessed", gated: bool = True) -> Path:
    """Write a handover whose chain is whole; give the gate's evidence."""
    run = folder / "candidate" / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "MLmodel").write_text("flavors: {}\n")
    (run / "model" / "model.skops").write_bytes(b"model")
    (run / "artifacts").mkdir()
    (run / "artifacts" / "plot.txt").write_text("plot")
    (run / "run.json").write_text(json.dumps(RUN))
    handover = folder / "candidate"
    predictions = handover / "predictions" / "release" / "candidate.parquet"
    predictions.parent.mkdir(parents=True)
    predictions.write_bytes(b"predictions")
    fixed = evidence.write_json(handover / "data.json", DATA)
    named = {"validate": [evidence.subject("data.json", fixed)]}
    named["train"] = [
        evidence.subject("run", evidence.sha256_file(run / "run.json")),
        evidence.subject("model", evidence.sha256_tree(run / "model")),
    ]
    golden = handover / "golden.json"
    golden.write_text("{}")
    named["score"] = [evidence.subject(golden.name, evidence.sha256_file(golden))]
    for stage in ("validate", "train", "score"):
        document = evidence.statement(
            stage,
            "passed",
            [],
            subjects=named[stage],
            pipeline_digest="forged",
            environment={"python": "3.11.7"},
        )
        evidence.write_json(handover / f"{stage}.json", document)
    gate = folder / "verdict" / "gate.json"
    previous = [handover / f"{stage}.json" for stage in ("validate", "train", "score")]
    relative = predictions.relative_to(handover).as_posix()
    subjects = [evidence.subject(relative, evidence.sha256_file(predictions))]
    document = evidence.statement(
        "gate", verdict, [], subjects=subjects, previous=previous, gated=gated
    )
    evidence.write_json(gate, document)
    return gate


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", origin], check=True)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", origin], check=True)
    (folder / "mlops.yaml").write_text(CONFIG)
    for name in ("MLFLOW_TRACKING_URI", "GITHUB_WORKSPACE", "GITHUB_EVENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def run(repository: Path, gate: Path, attested: str = "true") -> int:
    arguments = argparse.Namespace(
        config=repository / "mlops.yaml",
        handover=gate.parents[1] / "candidate",
        gate=gate,
        attested=attested,
    )
    return publish.run(arguments)


def branch_exists(repository: Path) -> bool:
    listed = subprocess.run(
        ["git", "-C", repository, "ls-remote", "--heads", "origin", BRANCH],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return bool(listed.stdout)


def test_a_blessed_candidate_is_registered_with_its_evidence(
    repository: Path, tmp_path: Path
) -> None:
    gate = make_handover(tmp_path / "job")
    assert run(repository, gate) == 0
    assert evidence.read(gate.with_name("publish.json"), "publish")["version"] == "1"
    quiet()
    checkout = Branch(repository=repository).checkout(tmp_path / "look")
    registry = EmbeddedRegistry(checkout)
    assert registry.aliases("tiny") == {"challenger": "1"}
    version = registry.version("tiny", "1")
    assert version.tags["mlops.original_run_id"] == "a" * 32
    # Computed here: what train.json calls it would make a later change look like nothing new.
    digest = pipeline.digest(config.load(repository / "mlops.yaml"), DATA, "3.11.9")
    assert version.tags["mlops.pipeline_digest"] == digest
    registry.download_model(version, tmp_path / "model")
    digest = evidence.sha256_tree(tmp_path / "model")
    assert digest == version.tags["mlops.model_digest"]
    registry.download_evidence(version, tmp_path / "evidence")
    kept = {p.relative_to(tmp_path / "evidence").as_posix() for p in tmp_path.glob("evidence/**/*")}
    stages = {f"{stage}.json" for stage in ("validate", "train", "score", "gate", "publish")}
    assert stages | {"data.json", "predictions/release/candidate.parquet"} <= kept
    assert (tmp_path / "evidence/golden.json").read_text() == "{}"


def test_the_run_keeps_what_training_logged(repository: Path, tmp_path: Path) -> None:
    run(repository, make_handover(tmp_path / "job"))
    quiet()
    registry = EmbeddedRegistry(Branch(repository=repository).checkout(tmp_path / "look"))
    found = registry._client.get_run(registry.version("tiny", "1").run_id)
    assert found.data.params == {"depth": "3"}
    assert found.data.metrics == {"r2": 0.5}
    assert found.data.tags["team"] == "flights"
    assert found.info.status == "FINISHED"
    assert (found.info.start_time, found.info.end_time) == (1000, 2000)
    assert [item.dataset.name for item in found.inputs.dataset_inputs] == ["training"]


@pytest.mark.parametrize("verdict", ["rejected", "inconclusive", "unchanged", "passed", "BLESSED"])
def test_only_blessed_is_registered(repository: Path, tmp_path: Path, verdict: str) -> None:
    with pytest.raises(Failure, match="only blessed"):
        run(repository, make_handover(tmp_path / "job", verdict=verdict))
    assert not branch_exists(repository)


def test_a_dry_run_registers_nothing(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="without deciding"):
        run(repository, make_handover(tmp_path / "job", gated=False))
    assert not branch_exists(repository)


def _swap_model(job: Path) -> None:
    (job / "candidate" / "run" / "model" / "model.skops").write_bytes(b"another")


def _add_file(job: Path) -> None:
    (job / "candidate" / "run" / "model" / "more.py").write_text("x")


def _swap_run(job: Path) -> None:
    forged = {**RUN, "params": {"depth": "4"}}
    (job / "candidate" / "run" / "run.json").write_text(json.dumps(forged))


def _swap_evidence(job: Path) -> None:
    path = job / "candidate" / "train.json"
    path.write_text(path.read_text().replace("forged", "digest"))


def _swap_golden_rows(job: Path) -> None:
    (job / "candidate" / "golden.json").write_text('{"records": []}')


def _swap_data(job: Path) -> None:
    evidence.write_json(job / "candidate" / "data.json", DATA | {"more": 1})


def _swap_predictions(job: Path) -> None:
    (job / "candidate" / "predictions" / "release" / "candidate.parquet").write_bytes(b"better")


def _drop_evidence(job: Path) -> None:
    (job / "candidate" / "score.json").unlink()


def _link(job: Path) -> None:
    path = job / "candidate" / "run" / "model" / "model.skops"
    path.unlink()
    path.symlink_to("/etc/hostname")


def _link_folder(job: Path) -> None:
    shutil.rmtree(job / "candidate" / "run" / "artifacts")
    (job / "candidate" / "run" / "artifacts").symlink_to("/etc")


@pytest.mark.parametrize(
    "tamper",
    [
        _swap_model,
        _add_file,
        _swap_run,
        _swap_evidence,
        _swap_golden_rows,
        _swap_data,
        _swap_predictions,
        _drop_evidence,
        _link,
        _link_folder,
    ],
)
def test_what_was_not_judged_is_refused(
    repository: Path, tmp_path: Path, tamper: Callable[[Path], None]
) -> None:
    gate = make_handover(tmp_path / "job")
    tamper(tmp_path / "job")
    with pytest.raises(Failure):
        run(repository, gate)
    assert not branch_exists(repository)


@pytest.fixture
def on_ref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    payload = tmp_path / "event.json"
    payload.write_text(json.dumps({"repository": {"default_branch": "main"}}))

    def happen(ref: str) -> None:
        monkeypatch.setenv("GITHUB_EVENT_NAME", "workflow_dispatch")
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(payload))
        monkeypatch.setenv("GITHUB_REF", ref)
        github.event.cache_clear()

    yield happen
    github.event.cache_clear()


def test_another_ref_registers_nothing(
    repository: Path, tmp_path: Path, on_ref: Callable[[str], None]
) -> None:
    gate = make_handover(tmp_path / "job")
    on_ref("refs/heads/feature")
    with pytest.raises(ConfigurationError, match="Only the default branch"):
        run(repository, gate)
    assert not branch_exists(repository)


def test_an_unattested_verdict_registers_nothing_unless_that_is_allowed(
    repository: Path, tmp_path: Path, on_ref: Callable[[str], None]
) -> None:
    gate = make_handover(tmp_path / "job")
    on_ref("refs/heads/main")
    with pytest.raises(Failure, match="was not attested"):
        run(repository, gate, attested="false")
    assert not branch_exists(repository)
    (repository / "mlops.yaml").write_text(CONFIG + "unattested: allow\n")
    assert run(repository, gate, attested="false") == 0
    assert branch_exists(repository)


def test_a_large_file_does_not_go_to_git(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_actions.registry.store.MAX_EMBEDDED_FILE", 4)
    with pytest.raises(Failure, match="set the secret MLFLOW_TRACKING_URI"):
        run(repository, make_handover(tmp_path / "job"))
    assert not branch_exists(repository)


def test_a_damaged_registry_is_left_alone(repository: Path, tmp_path: Path) -> None:
    run(repository, make_handover(tmp_path / "one"))

    def damage(checkout: Any) -> None:
        checkout.bring(["registry/mlflow.db"])
        (checkout.folder / "registry" / "mlflow.db").write_bytes(b"no database")

    branch = Branch(repository=repository)
    branch.transaction(damage, "damage")
    before = branch.checkout(tmp_path / "before").git("rev-parse", "HEAD").stdout
    with pytest.raises(Failure, match="The embedded registry"):
        run(repository, make_handover(tmp_path / "two"))
    assert branch.checkout(tmp_path / "after").git("rev-parse", "HEAD").stdout == before


def test_the_gate_sees_the_evidence_of_champion_and_challenger(
    repository: Path, tmp_path: Path
) -> None:
    for job in ("one", "two"):
        run(repository, make_handover(tmp_path / job))
    branch = Branch(repository=repository)

    def promote(checkout: Checkout) -> None:
        client = EmbeddedRegistry(checkout)._client
        client.set_registered_model_alias("tiny", "champion", "1")

    branch.transaction(promote, "promote")
    loaded = config.load(repository / "mlops.yaml")
    document = baseline.fetch(loaded, tmp_path / "baseline", branch, model=False)
    assert document["baseline"]["version"] == "1"
    versions = {
        folder: evidence.read(tmp_path / "baseline" / folder / "publish.json", "publish")["version"]
        for folder in ("evidence", "challenger")
    }
    assert versions == {"evidence": "1", "challenger": "2"}


# --- A server that fails in mid-publish ----------------------------------------------------------


class Failing:
    """A client of MLflow's that fails from its ``turn``-th change on, as a server does."""

    def __init__(self, client: Any, turn: int) -> None:
        self._client = client
        self._left = turn
        self.last = ""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(("create_", "log_", "finalize_", "set_")):
            return method

        def change(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            # What comes after the failure are its consequences: the run must still be ended.
            if self._left == 0:
                self.last = name
                # As a call of the REST API says it, and as an upload does.
                if self.last == "log_artifacts":
                    raise requests.HTTPError("401 Client Error: Unauthorized for url: http://x/y")
                raise MlflowException("Request failed with error code 401")
            return method(*arguments, **options)

        return change


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerRegistry:
    """A server's registry whose calls reach MLflow's own store without a network."""
    monkeypatch.chdir(tmp_path)
    for name in ("URI", "TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")
    quiet()
    registry = ServerRegistry("http://127.0.0.1:9")
    uri = f"sqlite:///{tmp_path}/server.db"
    registry._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    monkeypatch.setattr(publish, "ServerRegistry", lambda _: registry)
    monkeypatch.setattr(publish, "tracking_uri", lambda _: "http://127.0.0.1:9")
    return registry


def runs(registry: ServerRegistry) -> list[Any]:
    """Every run of the model's experiment."""
    found = registry._client.get_experiment_by_name("tiny")
    return list(registry._client.search_runs([found.experiment_id])) if found else []


def test_a_server_gets_the_evidence_before_the_alias(
    repository: Path, tmp_path: Path, server: ServerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = []

    def moved(name: str, alias: str, number: str) -> None:
        found = server.version(name, number)
        listed = server._client.list_artifacts(found.run_id, EVIDENCE)
        complete.append((alias, {Path(item.path).name for item in listed}))

    monkeypatch.setattr(server._client, "set_registered_model_alias", moved)
    assert run(repository, make_handover(tmp_path / "job")) == 0
    [(alias, names)] = complete
    assert alias == "challenger"
    assert {"gate.json", "publish.json", "data.json", "predictions"} <= names
    assert [item.info.status for item in runs(server)] == ["FINISHED"]


def test_wherever_a_server_fails_no_alias_moves_and_no_run_stays_open(
    repository: Path, tmp_path: Path, server: ServerRegistry
) -> None:
    run(repository, make_handover(tmp_path / "first"))
    [first] = runs(server)
    client, reached, said = server._client, [], set()
    for turn in range(1, 50):
        server._client = failing = Failing(client, turn)  # type: ignore[assignment]
        gate = make_handover(tmp_path / str(turn))
        try:
            run(repository, gate)
        except Failure as problem:
            said.add(problem.message)
        else:
            break
        reached.append(failing.last)
        assert server.aliases("tiny") == {"challenger": "1"}
        assert not gate.with_name("publish.json").exists()
        others = {
            item.info.status for item in runs(server) if item.info.run_id != first.info.run_id
        }
        assert others <= {"FAILED"}
    assert all("it answered 401" in message for message in said)
    assert reached[0] == "create_run"
    assert reached[-1] == "set_registered_model_alias"
    assert {"log_artifacts", "log_model_artifacts", "create_model_version"} <= set(reached)
    assert server.aliases("tiny")["challenger"] != "1"  # In the end nothing failed.
