"""One local run, from the event to the files it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_actions import github, project, uv
from mlops_actions.errors import ConfigurationError
from mlops_actions.local import act, wiring
from mlops_actions.local import origin as bare
from mlops_actions.local.api import Api, serve
from mlops_actions.local.event import Event, Request, happen
from mlops_actions.local.log import Annotation, Job, Log

_TOKEN = "local-token"  # noqa: S105 - opens nothing but our own double.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalRun:
    """What a run left.

    ``jobs`` has a key for each job of the caller (``train``), and below it for each job of the
    workflow that it calls (``train/verdict``); legs of a matrix are ``train-1``, ``train-2``. Where
    an event started several workflows, a key of each begins with the file's stem and a colon.
    """

    code: int
    folder: Path
    origin: Path
    event: dict[str, Any]
    jobs: dict[str, Job]
    steps: dict[str, dict[str, str]]  # Outputs of each step, by JOB/STEP.
    annotations: list[Annotation]
    problems: list[str]
    comments: list[dict[str, Any]]
    issues: list[dict[str, Any]]
    dispatches: list[dict[str, Any]]
    log: str

    @property
    def green(self) -> bool:
        """Whether every job succeeded or was skipped."""
        return self.code == 0

    @property
    def outputs(self) -> dict[str, dict[str, str]]:
        """Outputs of every job and call, by its key."""
        return {key: job.outputs for key, job in self.jobs.items()}

    @property
    def summaries(self) -> dict[str, str]:
        """Step summaries, by WORKFLOW-JOB-STEP."""
        files = sorted(self.folder.glob("summaries/*.md"))
        return {file.stem: file.read_text(encoding="utf-8") for file in files}

    @property
    def artifacts(self) -> Path:
        """The folder of artifacts: WORKFLOW/NAME."""
        return self.folder / "artifacts"

    def artifact(self, name: str) -> Path:
        """Give the folder of one artifact.

        Raises:
            KeyError: no workflow uploaded it, or two did.

        """
        found = list(self.artifacts.glob(f"*/{name}"))
        if len(found) != 1:
            there = sorted(path.name for path in self.artifacts.glob("*/*"))
            raise KeyError(f"artifact {name!r}: found {len(found)} among {there}")
        return found[0]

    def git(self, *arguments: str) -> str:
        """Ask the run's origin, e.g. ``git("log", "--format=%s", "mlops-state")``."""
        return bare.git(*arguments, cwd=self.origin)


def run_event(
    repo: Path,
    event: str,
    *,
    workflow: str | None = None,
    inputs: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    actions: Mapping[str, Path] | None = None,
    output: Path | None = None,
    actor: str = "octocat",
    activity: str | None = None,
    base: str | None = None,
    fork: bool = False,
    labels: Sequence[str] = (),
    verbose: bool = False,
    timeout: float | None = None,
) -> LocalRun:
    """Let ``event`` happen to a copy of ``repo`` and run the workflows that it starts.

    ``timeout`` (seconds) ends each workflow that takes longer. A red job is no error: look at
    ``code``.

    Raises:
        ConfigurationError: the call or a workflow file is wrong.
        Failure: git or act is missing or failed, or the pull request conflicts with its base.

    """
    root = bare.top_level(repo)
    request = Request(
        name=event,
        inputs=inputs or {},
        actor=actor,
        fork=fork,
        labels=labels,
        base=base,
        activity=activity,
    )
    replaced = _folders(actions or {})
    command = act.find()
    home = (output or root / ".mlops-local").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / ".gitignore").exists():
        (home / ".gitignore").write_text("*\n")
    origin = home / "origin.git"
    with _locked(home):
        snapshot = bare.synchronise(root, origin)
        happened = happen(request, snapshot, origin, home / "github" / "pulls.json")
        folder = _next_run(home)
    number = int(folder.name)
    github.info(f"{happened.title}, commit {happened.commit[:9]}: run {number} in {folder}")
    if snapshot.uncommitted:
        github.info("  what is not committed yet is part of it, in a commit of its own")
    if request.restricted:
        reads = " and a token that only reads" if request.from_fork else ""
        github.info(f"  as on GitHub, this event gets none of the repository's secrets{reads}")
    (folder / "event.json").write_text(json.dumps(happened.payload, indent=2) + "\n")
    api = Api(home / "github", snapshot.slug, _TOKEN, happened.payload, read_only=request.from_fork)
    with (
        tempfile.TemporaryDirectory(prefix="mlops-local-", ignore_cleanup_errors=True) as temporary,
        serve(api) as address,
    ):
        work = Path(temporary).resolve()
        caller = work / "repository"
        bare.checkout(origin, happened.commit, caller)
        selected = _select(caller, workflow, happened)
        logs = []
        for index, file in enumerate(selected):
            session = _Session(
                command=command,
                work=work / str(index),
                caller=caller,
                file=file,
                folder=folder,
                origin=origin,
                secrets={} if request.restricted else (secrets or {}),
                variables=variables or {},
                environment={
                    **happened.environment(snapshot.slug, actor),
                    **_runner(snapshot.slug, file, happened, address, number * 100 + index),
                    **(environment or {}),
                },
                actions=replaced,
                event=happened,
                actor=actor,
                verbose=verbose,
                timeout=timeout,
            )
            logs.append(session.run())
    return _leave(folder, origin, happened, logs, api)


def _folders(actions: Mapping[str, Path]) -> dict[str, Path]:
    folders = {}
    for slug, folder in actions.items():
        if slug.count("/") != 1:
            raise ConfigurationError(f"--action {slug}: expected OWNER/NAME=DIR.")
        if not folder.is_dir():
            raise ConfigurationError(f"--action {slug}: {folder} is not a directory.")
        folders[slug] = folder.resolve()
    return folders


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _next_run(home: Path) -> Path:
    runs = home / "runs"
    runs.mkdir(exist_ok=True)
    number = 1 + max((int(run.name) for run in runs.iterdir() if run.name.isdigit()), default=0)
    folder = runs / str(number)
    folder.mkdir()
    link = home / "latest.new"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("runs") / str(number))
    link.replace(home / "latest")
    return folder


def _runner(slug: str, file: Path, event: Event, address: str, run_id: int) -> dict[str, str]:
    return {
        "GITHUB_API_URL": address,
        "GITHUB_RUN_ID": str(run_id),
        "GITHUB_RUN_NUMBER": str(run_id // 100),
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RETENTION_DAYS": "90",
        "GITHUB_WORKFLOW_REF": f"{slug}/.github/workflows/{file.name}@{event.ref}",
        "GITHUB_WORKFLOW_SHA": event.commit,
        "RUNNER_ENVIRONMENT": "self-hosted",
        "RUNNER_NAME": "mlops-actions local",
        # The doubles' own.
        "MLOPS_LOCAL_PYTHON": sys.executable,
        "MLOPS_LOCAL_UV": str(uv.find() or ""),
    }


def _select(caller: Path, workflow: str | None, event: Event) -> list[Path]:
    folder = caller / ".github" / "workflows"
    files = sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")])
    if not files:
        raise ConfigurationError("the repository has no .github/workflows/*.yml.")
    if workflow is not None:
        files = [file for file in files if Path(workflow).name in {file.name, file.stem}]
        if not files:
            raise ConfigurationError(f"--workflow {workflow}: there is no such workflow.")
    selected, reasons = [], []
    for file in files:
        reason = wiring.why_not(wiring.load(file), event)
        if reason is None:
            selected.append(file)
        else:
            reasons.append(f"{file.name}: {reason}")
    if not selected:
        raise ConfigurationError(f"no workflow starts on this {event.name}. {'; '.join(reasons)}.")
    return selected


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Session:
    """One workflow, run by one process of act."""

    command: list[str]
    work: Path
    caller: Path
    file: Path
    folder: Path
    origin: Path
    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    environment: Mapping[str, str]
    actions: Mapping[str, Path]
    event: Event
    actor: str
    verbose: bool
    timeout: float | None

    def run(self) -> tuple[str, Log, int]:
        """Run it; give its stem, its log, and act's exit code."""
        stem = self.file.stem
        self.work.mkdir()
        workflow = wiring.load(self.file)
        plan = wiring.lay_out(self.file, self.caller, self.work, self.actions)
        github.info(f"{stem}.yml")
        log = Log(
            stem, str(workflow.get("name", self.file.name)), self.folder, verbose=self.verbose
        )
        try:
            code = self._act(plan, log)
        finally:
            log.close()
        log.settle()
        return stem, log, code

    def _act(self, plan: wiring.Wiring, log: Log) -> int:
        cache = self.work / "act"
        cache.mkdir()
        kept = project.tool_cache()
        kept.mkdir(parents=True, exist_ok=True)
        (cache / "tool_cache").symlink_to(kept.resolve())
        artifacts = self.folder / "artifacts" / self.file.stem
        environment = {
            **self.environment,
            "MLOPS_LOCAL_ORIGIN": self.origin.as_uri(),
            "MLOPS_LOCAL_ARTIFACTS": str(artifacts),
        }
        arguments = [
            self.event.name,
            "--json",
            "--rm",
            "--no-skip-checkout",
            "--no-cache-server",
            *("--concurrent-jobs", "1"),  # See wiring._adapt_job.
            *("--actor", self.actor),
            *("--directory", str(self.caller)),
            *("--workflows", str(self.file)),
            *("--eventpath", str(self.folder / "event.json")),
            *("--action-cache-path", str(cache)),
            # Files, not arguments: everybody on the machine can read those.
            *("--secret-file", self._json("secrets.yml", {**self.secrets, "GITHUB_TOKEN": _TOKEN})),
            *("--var-file", self._json("vars.yml", dict(self.variables))),
            *("--env-file", self._json("env.yml", environment)),
        ]
        for label in sorted(plan.labels):
            arguments += ["--platform", f"{label}=-self-hosted"]
        for use, folder in sorted(plan.repositories.items()):
            arguments += ["--local-repository", f"{use}={folder}"]
        with (self.work / "act.stderr").open("w+", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.work,  # Holds no .actrc, .env or .secrets of anybody's.
                env=act.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
            )
            code = self._follow(process, log)
            errors.seek(0)
            for line in errors:
                log.feed(line)
        return code

    def _follow(self, process: subprocess.Popen[str], log: Log) -> int:
        late = threading.Event()

        def end() -> None:
            late.set()
            process.terminate()

        timer = threading.Timer(self.timeout, end) if self.timeout else None
        if timer:
            timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - we asked for a pipe.
            for line in process.stdout:
                log.feed(line)
            code = process.wait()
        except BaseException:
            process.terminate()  # act then ends its steps.
            process.wait()
            raise
        finally:
            if timer:
                timer.cancel()
        if late.is_set():
            log.problems.append(f"ended after {self.timeout:.0f} s")
            return 1
        return code

    def _json(self, name: str, data: Mapping[str, Any]) -> str:
        """Write JSON, which is YAML too, for our eyes only."""
        path = self.work / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file)
        return str(path)


def _leave(
    folder: Path,
    origin: Path,
    event: Event,
    logs: Sequence[tuple[str, Log, int]],
    api: Api,
) -> LocalRun:
    """Write what the run found, and say where it is."""
    jobs: dict[str, Job] = {}
    steps: dict[str, dict[str, str]] = {}
    annotations: list[Annotation] = []
    problems: list[str] = []
    red = False
    for stem, log, code in logs:
        prefix = f"{stem}:" if len(logs) > 1 else ""
        jobs |= {prefix + key: job for key, job in log.jobs.items()}
        steps |= {prefix + key: outputs for key, outputs in log.step_outputs.items()}
        annotations += log.annotations
        problems += log.problems
        red |= code != 0 or any("no runner for" in problem for problem in log.problems)
        if not log.jobs and not red:
            red = True
            problems.append(f"{stem}: no job ran")
    red |= any(job.result in {"failure", "cancelled"} for job in jobs.values())
    results = {
        key: {
            "result": job.result,
            "seconds": round(job.seconds, 3),
            **({"matrix": job.matrix} if job.matrix else {}),
            "steps": [dataclasses.asdict(step) for step in job.steps],
        }
        for key, job in sorted(jobs.items())
    }
    outputs = {
        "jobs": {key: job.outputs for key, job in sorted(jobs.items()) if job.outputs},
        "steps": steps,
    }
    (folder / "result.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / "outputs.json").write_text(json.dumps(outputs, indent=2) + "\n")
    for problem in problems if red else []:
        github.info(f"  {problem}")
    for key, job in sorted(jobs.items()):
        github.info(f"{job.result or '?':>8}  {key}")
    github.info(f"{'red' if red else 'green'}; log, summaries, outputs and artifacts: {folder}")
    text = (folder / "log.txt").read_text(encoding="utf-8")
    return LocalRun(
        code=1 if red else 0,
        folder=folder,
        origin=origin,
        event=event.payload,
        jobs=jobs,
        steps=steps,
        annotations=annotations,
        problems=problems,
        comments=api.comments(),
        issues=api.issues(),
        dispatches=api.dispatches(),
        log=text,
    )
