"""The pull-request chain on the generated repository: what is not the user's own training.

The whole chain under `mlops-actions local`, the second run: environments exist, bytecode is
compiled. Prints where the time goes, step by step; the user's commands are told apart by the lines
"… done in N s" that we print after each. The bound is 20 s.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import copier

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from mlops_actions.local import LocalRun, run_event  # noqa: E402

BOUND = 20.0  # Seconds.
USERS = re.compile(r"(Data|Training|Pull|Push|Smoke): done in ([\d.]+) s")


def git(folder: Path, *words: str) -> None:
    """Run git in the generated repository."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True)


def change(folder: Path, iterations: int) -> None:
    """Commit another number of iterations."""
    path = folder / "params.yaml"
    text = re.sub(r"^(\s+max_iter:).*", rf"\1 {iterations}", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    git(folder, "commit", "--quiet", "--all", "--message", f"{iterations} iterations")


def show(run: LocalRun, seconds: float) -> float:
    """Print the steps and give the seconds that are ours."""
    print(f"\n{'seconds':>8}  step")
    for key, job in run.jobs.items():
        for step in job.steps:
            if "/" not in step.id:
                print(f"{step.seconds:8.2f}  {key}: {step.name}")
    users = sum(float(found[2]) for found in USERS.finditer(run.log))
    print(f"{seconds:8.2f}  the whole chain")
    print(f"{users:8.2f}  of it the user's own commands")
    print(f"{seconds - users:8.2f}  ours (bound: {BOUND:.0f})")
    return seconds - users


def main() -> int:
    """Run the chain twice after a first push; measure the second time."""
    with tempfile.TemporaryDirectory(prefix="bench-chain-") as temporary:
        folder = Path(temporary) / "flights"
        copier.run_copy(str(ROOT), folder, defaults=True, vcs_ref="HEAD", quiet=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "A model")
        run_event(folder, "push")
        git(folder, "checkout", "--quiet", "-b", "change")
        for iterations in (210, 220):
            change(folder, iterations)
            started = time.monotonic()
            run = run_event(folder, "pull_request", workflow="quality-gate.yml")
            seconds = time.monotonic() - started
        print(f"verdict: {run.outputs['quality-gate']['verdict']}")
        show(run, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
