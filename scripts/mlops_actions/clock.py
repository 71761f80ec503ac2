"""How long the candidate and the champion take, measured in turns.

Both models are loaded, each in a process and environment of its own, and asked one after the other
in alternating order, so that a noisy machine slows both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_actions import github, project
from mlops_actions.config import Project
from mlops_actions.errors import Failure

DOCUMENT = "latency.json"
WARM_UP = 5  # Answers of each kind that are not counted.
BATCH_EVERY = 4  # Rounds of single rows to one round of batches.
LIMIT = 900.0  # Seconds; what was measured by then is what there is.


class Clock:
    """A model in a process that says how long it takes."""

    def __init__(
        self,
        loaded: Project,
        python: Path,
        variables: Mapping[str, str],
        model: Path,
        files: list[str],
    ) -> None:
        settings = loaded.config.gate.latency
        if settings is None:
            raise AssertionError
        request = project.model_request(loaded, model) | {"files": files, "batch": settings.batch}
        self._model = model
        self._process = subprocess.Popen(
            [str(python), str(project.RUNNER), "clock"],
            cwd=loaded.folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            start_new_session=True,
        )

        self._send(json.dumps(request))

    def ask(self, line: str) -> str:
        """Send a line, give the answer."""
        self._send(line)
        if self._process.stdout is None:
            raise AssertionError
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise Failure("The model could not be timed: its process ended.")
        return answer

    def _send(self, line: str) -> None:
        if self._process.stdin is None:
            raise AssertionError
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise Failure("The model could not be timed: its process ended.") from None

    def milliseconds(self, line: str) -> float:
        """Time one prediction."""
        return int(self.ask(line)) / 1e6

    def finish(self) -> dict[str, Any]:
        """End the process; give ``load`` in seconds, ``memory`` and ``size`` in bytes."""
        size = sum(path.stat().st_size for path in self._model.rglob("*") if path.is_file())
        return {**json.loads(self.ask("end")), "size": size}

    def stop(self) -> None:
        """End the process, whatever it does."""
        project.end(self._process)


def measure(
    loaded: Project,
    models: Mapping[str, tuple[project.Environment, Path]],
    files: list[str],
) -> dict[str, dict[str, Any]]:
    """Time models in turns.

    Args:
        loaded: the configuration, with a section ``gate.latency``.
        models: environment and files of each, by name.
        files: of the evaluation set; the rows come from the first.

    Returns:
        By name ``row`` and ``batch``, in milliseconds, round by round; ``load`` in seconds;
        ``memory`` and ``size`` in bytes.

    Raises:
        Failure: a model's process ended.

    """
    settings = loaded.config.gate.latency
    if settings is None:
        raise AssertionError
    clocks: dict[str, Clock] = {}
    found: dict[str, dict[str, Any]] = {name: {"row": [], "batch": []} for name in models}
    # Masks secrets: a command, so before they are off.
    given = {name: environment.variables() for name, (environment, _) in models.items()}
    with github.untrusted_output(), contextlib.ExitStack() as stack:
        for name, (environment, model) in models.items():
            clocks[name] = Clock(loaded, environment.python, given[name], model, files)
            stack.callback(clocks[name].stop)
        for clock in clocks.values():
            for number in range(WARM_UP):
                clock.ask(f"row {number}")
                clock.ask("batch")
        end = time.monotonic() + LIMIT
        for number in range(settings.rounds):
            order = list(clocks) if number % 2 else list(clocks)[::-1]
            for name in order:
                found[name]["row"].append(clocks[name].milliseconds(f"row {number}"))
            if number % BATCH_EVERY == 0:
                for name in order if number % (2 * BATCH_EVERY) else order[::-1]:
                    found[name]["batch"].append(clocks[name].milliseconds("batch"))
            if time.monotonic() > end:
                break
        for name, clock in clocks.items():
            found[name] |= clock.finish()
    return found
