"""Read act's JSON log as it comes: what each job and step did, and what to show of it."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_actions import github
from mlops_actions.local.wiring import OBSERVER, OUR_SLUG

_TAIL = 60  # Lines of a failed step that are shown.
_SECOND = 1e9  # act gives nanoseconds.


@dataclasses.dataclass
class Step:
    """One step; ``id`` is the path through composite actions, such as ``train/environment``."""

    id: str
    name: str
    result: str
    seconds: float


@dataclasses.dataclass
class Job:
    """One job, or one call of a workflow (its ``steps`` are then empty)."""

    result: str = ""
    seconds: float = 0.0
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)
    steps: list[Step] = dataclasses.field(default_factory=list)
    matrix: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Annotation:
    """One ``::error``, ``::warning`` or ``::notice`` of a step."""

    job: str
    level: str
    message: str
    file: str | None = None
    line: int | None = None


def entries(text: str) -> Iterator[dict[str, Any] | str]:
    """Give the JSON documents in one line of act's output, and what is not JSON as text."""
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        try:
            entry, end = decoder.raw_decode(text)
        except ValueError:
            yield text
            return
        yield entry if isinstance(entry, dict) else text[:end]
        text = text[end:].lstrip()


class Log:
    """What a run of one workflow did, read from act's log."""

    def __init__(self, stem: str, workflow: str, folder: Path, *, verbose: bool) -> None:
        self.stem = stem
        self.workflow = workflow
        self.folder = folder
        self.verbose = verbose
        self.jobs: dict[str, Job] = {}
        self.step_outputs: dict[str, dict[str, str]] = {}
        self.annotations: list[Annotation] = []
        self.problems: list[str] = []
        self._tails: dict[str, list[str]] = {}
        self._started: dict[str, float] = {}
        self._summarised: dict[tuple[str, str], int] = {}
        self._file = (folder / "log.txt").open("a", encoding="utf-8")

    def close(self) -> None:
        """End the log."""
        self._file.close()

    def _key(self, entry: dict[str, Any]) -> str:
        """Name the job: ``train`` for a caller's own, ``train/verdict`` for one of a called one."""
        name = str(entry["job"]).strip()
        if name.startswith(f"{self.workflow}/"):
            return name.removeprefix(f"{self.workflow}/")
        return f"{name.split('/', 1)[0]}/{name.rsplit('/', 1)[1]}"

    def feed(self, line: str) -> None:
        """Take one line of act's output."""
        for entry in entries(line):
            if isinstance(entry, str):
                self._say(entry)
                if not re.fullmatch(r"Error: Job '.*' failed", entry):  # Said before, by the job.
                    self.problems.append(entry)
            elif "job" in entry:
                self._entry(entry, self._key(entry))
            elif entry.get("level") in {"error", "fatal"}:
                self._say(str(entry.get("msg")))
                self.problems.append(str(entry.get("msg")))

    def _say(self, text: str) -> None:
        self._file.write(text.rstrip("\n") + "\n")
        self._file.flush()

    def _entry(self, entry: dict[str, Any], key: str) -> None:
        message = str(entry.get("msg", ""))
        steps = entry.get("stepID") or []
        step = "/".join(steps)
        command = entry.get("command")
        if key.rsplit("/", 1)[-1] == OBSERVER:
            if command == "set-output":
                self._observed(key, str(entry["name"]), str(entry["arg"]))
            return
        if entry.get("matrix") and "/" not in key:
            self.jobs.setdefault(key, Job()).matrix = entry["matrix"]
        around = entry.get("stage") in {"Pre", "Post"} and not entry.get("raw_output")
        if message.startswith("LocalRepositoryCache") or (
            around and entry.get("stepResult", "success") == "success"
        ):
            return
        self._say(f"[{key}{' ' + step if step else ''}] {message}")
        if entry.get("raw_output"):
            self._output(key, step, message)
        elif command == "set-output":
            self.step_outputs.setdefault(f"{key}/{step}", {})[str(entry["name"])] = entry["arg"]
        elif command == "summary":
            self._summary(key, steps, str(entry["content"]))
        elif command in {"error", "warning", "notice"}:
            self._annotate(key, command, entry)
        elif message.lstrip().startswith("❓"):  # act knows no ::notice.
            self._notice(key, message)
        elif "jobResult" in entry:
            self._finished(key, str(entry["jobResult"]))
        elif "stepResult" in entry and entry.get("stage") == "Main":
            self._step(key, step, steps, entry)
        elif "Skipping unsupported platform" in message:
            self.problems.append(f"{key}: no runner for its runs-on ({message.strip()})")
        elif message.startswith("⭐ Run Set up job"):
            self._started[key] = time.monotonic()
        elif entry.get("level") == "error" and not re.fullmatch(r"exit status \d+", message):
            self._show(key, f"error: {message.strip()}")
            self.problems.append(f"{key}: {message.strip()}")

    def _show(self, key: str, text: str) -> None:
        github.info(f"  {self.stem} {key}: {text}")

    def _output(self, key: str, step: str, message: str) -> None:
        line = message.rstrip("\n")
        self._tails.setdefault(f"{key}/{step.split('/', maxsplit=1)[0]}", []).append(line)
        if self.verbose:
            self._show(key, f"| {line}")

    def _annotate(self, key: str, level: str, entry: dict[str, Any]) -> None:
        pairs = entry.get("kvPairs") or {}
        line = str(pairs.get("line", ""))
        note = Annotation(
            job=key,
            level=level,
            message=str(entry.get("arg", "")),
            file=pairs.get("file"),
            line=int(line) if line.isdigit() else None,
        )
        self.annotations.append(note)
        where = ":".join(str(part) for part in (note.file, note.line) if part)
        self._show(key, f"{level}: {where + ': ' if where else ''}{note.message}")

    def _notice(self, key: str, message: str) -> None:
        found = re.search(r"::notice( [^:]*)?::(.*)", message, re.DOTALL)
        if found:
            self.annotations.append(Annotation(key, "notice", found[2].strip()))
            self._show(key, f"notice: {found[2].strip()}")

    def _summary(self, key: str, steps: list[str], content: str) -> None:
        # A composite's summary is told twice: by the step inside that wrote it, and once more by
        # the composite, which finds the same file.
        top = steps[0]
        if len(steps) < self._summarised.get((key, top), 0):
            return
        self._summarised[key, top] = len(steps)
        name = "-".join([self.stem, *key.split("/"), top])
        path = self.folder / "summaries" / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(content)

    def _step(self, key: str, step: str, steps: list[str], entry: dict[str, Any]) -> None:
        seconds = float(entry.get("executionTime", 0)) / _SECOND
        if len(steps) == 1:
            name = str(entry.get("step", step)).split("\n")[0]
            name = re.sub(r"@[0-9a-f]{40}$", "", name).removeprefix(f"{OUR_SLUG}/")
        else:
            inner = re.sub(r"^\W*(Success|Failure) - Main ", "", str(entry["msg"]).strip())
            name = re.sub(r" \[[^]]*\]$", "", inner).split("\n")[0]
        result = str(entry["stepResult"])
        self.jobs.setdefault(key, Job()).steps.append(Step(step, name, result, seconds))
        if len(steps) > 1:
            return
        if result == "failure" and not self.verbose:
            for line in self._tails.get(f"{key}/{step}", [])[-_TAIL:]:
                self._show(key, f"| {line}")
        self._show(key, f"{'ok    ' if result == 'success' else 'FAILED'} {seconds:7.2f} s  {name}")
        self._tails.pop(f"{key}/{step}", None)

    def _finished(self, key: str, result: str) -> None:
        job = self.jobs.setdefault(key, Job())
        job.result = result
        job.seconds = time.monotonic() - self._started.get(key, time.monotonic())
        self._show(key, f"{result}, {job.seconds:.2f} s")

    def _observed(self, key: str, name: str, value: str) -> None:
        call = key.rsplit("/", 1)[0] if "/" in key else ""
        if name != "needs":
            self.jobs.setdefault(call, Job()).outputs[name.removeprefix("output.")] = value
            return
        for job_id, seen in json.loads(value or "{}").items():
            job = self.jobs.setdefault(f"{call}/{job_id}" if call else job_id, Job())
            job.outputs |= seen.get("outputs") or {}
            job.result = job.result or str(seen.get("result") or "skipped")

    def settle(self) -> None:
        """Give each call of a workflow the result of its jobs, once act has ended."""
        for key, job in list(self.jobs.items()):
            call, _, inner = key.rpartition("/")
            if inner and call:
                result = self.jobs.setdefault(call, Job())
                result.seconds += job.seconds
                if job.result == "failure" or result.result in {"", "skipped"}:
                    result.result = job.result
