"""A tracked training: the MLflow store that the command logs to, and the evidence of its run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from mlops_actions import evidence, project
from mlops_actions.errors import Failure

_MISSING = {
    "no-run": "logged no MLflow run",
    "no-model": "logged no model: call mlflow.<flavor>.log_model(…, name='model') inside the run",
}


class Store:
    """The scratch MLflow store of one training command."""

    def __init__(
        self, environment: project.Environment, cwd: Path, scratch: Path, name: str
    ) -> None:
        self._environment = environment
        self._cwd = cwd
        scratch.mkdir(exist_ok=True)
        self._database = scratch / "mlflow.db"
        self._variables = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self._database}",
            "MLFLOW_EXPERIMENT_NAME": name,
            # MLflow's own, for its servers: without it, files go to the folder mlruns of the
            # project. An MLflow that does not know it is right, too, and leaves that folder behind.
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(scratch / "artifacts"),
        }
        self._exporter: project.Runner | None = None

    def __enter__(self) -> Self:
        """Give the store; it leaves no process behind."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process that waits to export."""
        if self._exporter is not None:
            self._exporter.end()

    def _ready(self) -> project.Runner:
        if self._exporter is None:
            variables = self._environment.variables()
            self._exporter = project.Runner(
                self._environment, "export", cwd=self._cwd, variables=variables
            )
        return self._exporter

    def run(
        self,
        command: str | list[str],
        label: str,
        limit: float,
        variables: dict[str, str] | None = None,
    ) -> float:
        """Run a command that logs here; give its seconds."""
        self._ready()  # To export: it imports MLflow meanwhile.
        return project.run_command(
            self._environment,
            command,
            cwd=self._cwd,
            label=label,
            timeout=max(limit, 1),
            variables=self._variables | (variables or {}),
        )

    def export(self, output: Path, *, failed: bool = False) -> str:
        """Export the run that was logged; say what is missing of it, nothing when all is there."""
        if output.exists():
            shutil.rmtree(output)
        if not self._database.exists():
            return _MISSING["no-run"]
        exporter, self._exporter = self._ready(), None
        try:
            exporter.ask(
                store=self._variables["MLFLOW_TRACKING_URI"], output=str(output), failed=failed
            )
        except Failure as problem:
            if problem.message in _MISSING:
                return _MISSING[problem.message]
            raise
        return ""

    @contextlib.contextmanager
    def failing(self, output: Path) -> Iterator[None]:
        """Export what was logged, as a run that FAILED, when what is done inside fails."""
        try:
            yield
        except Failure:
            # A store that is broken, too, must not hide why.
            with contextlib.suppress(Failure):
                self.export(output, failed=True)
            raise


def write_evidence(
    handover: Path, verdict: str, checks: list[evidence.Check], **predicate: object
) -> None:
    """Write ``train.json`` about the run that lies in the handover."""
    run = handover / "run"
    subjects = []
    if (run / "run.json").is_file():
        subjects.append(evidence.subject("run", evidence.sha256_file(run / "run.json")))
    if (run / "model").is_dir():
        subjects.append(evidence.subject("model", evidence.sha256_tree(run / "model")))
    if not subjects:
        subjects.append(evidence.subject("pipeline", str(predicate["pipeline_digest"])))
    evidence.write_json(
        handover / "train.json",
        evidence.statement(
            "train",
            verdict,
            checks,
            subjects=subjects,
            inputs=[
                evidence.subject("data.json", evidence.sha256_file(handover / "data.json")),
            ],
            previous=[handover / "validate.json"],
            **predicate,
        ),
    )
