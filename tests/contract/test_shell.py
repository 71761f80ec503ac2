"""What a shell makes of each action's line when every value is hostile: words, never commands.

The lines run for real, in bash as the runner starts it; only the program at their beginning is
replaced, by one that writes down its arguments.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from sources import ACTIONS, PUBLIC_WORKFLOWS, Source

STEPS = [
    pytest.param(source, step, id=f"{source.name}-{number}")
    for source in ACTIONS + PUBLIC_WORKFLOWS
    for number, step in enumerate(source.steps)
    if "run" in step
]
RECORD = """#!/bin/sh
printf '%s\\0' "$@" > "$SEEN"
"""


def hostile(mark: Path) -> str:
    """Every way in which a shell could come to run a value, in one value."""
    run = f"touch {mark}"
    return f"$({run})'$({run})'`{run}`\"; {run}; \"\n{run}\n"


def arguments(line: str, variables: dict[str, str], folder: Path) -> list[str] | None:
    """Run a step's line; give what its program was given, or nothing if it did not come to that."""
    program = folder / "scripts" / "mlops-actions"
    program.parent.mkdir()
    program.write_text(RECORD)
    program.chmod(0o755)
    script = folder / "line.sh"
    script.write_text(line)
    action = folder / "actions" / "stage"
    action.mkdir(parents=True)
    seen = folder / "seen"
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
        env={
            "PATH": "/usr/bin:/bin", "SEEN": str(seen), "RUNNER_TEMP": f"{folder}/a folder",
            "GITHUB_ACTION_PATH": str(action), **variables,
        },
        cwd=folder,
        check=False,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return seen.read_text().split("\0")[:-1] if seen.exists() else None


@pytest.mark.parametrize(("source", "step"), STEPS)
def test_a_value_is_one_word(source: Source, step: dict, tmp_path: Path):
    mark = tmp_path / "pwned"
    variables = dict.fromkeys(step.get("env") or {}, hostile(mark))
    known = {"RUNNER_TEMP": f"{tmp_path}/a folder", **variables}
    wanted = [
        re.sub(r"\$(\w+)", lambda name: known[name[1]], word)
        for word in shlex.split(step["run"])[1:]
    ]
    assert arguments(step["run"], variables, tmp_path) == wanted, source.name
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        'eval "x --config=$CONFIG"',
        'bash -c "x --config=$CONFIG"',
        "x --config={}",
        'x --config="{}"',
        "x --config='{}'",
    ],
)
def test_a_line_that_runs_its_values_is_seen(line: str, tmp_path: Path):
    mark = tmp_path / "pwned"
    value = hostile(mark)
    arguments(line.replace("{}", value), {"CONFIG": value}, tmp_path)
    assert mark.exists()
