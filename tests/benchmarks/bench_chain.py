"""The pull-request chain on the generated repository: what is not the user's own training.

The whole chain under `mlops-actions local`, the second run: environments exist, bytecode is
compiled. Prints where the time goes, step by step; the training command is told apart by the line
"Training: done in N s" that we print after it. The data command counts as the chain's.
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
COMMAND = re.compile(r"(Data|Training): done in ([\d.]+) s")


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
    """Print the steps and give the seconds without the training command."""
    print(f"\n{'seconds':>8}  step")
    for key, job in run.jobs.items():
        for step in job.steps:
            if "/" not in step.id:
                print(f"{step.seconds:8.2f}  {key}: {step.name}")
    taken = dict.fromkeys(("Data", "Training"), 0.0)
    for found in COMMAND.finditer(run.log):
        taken[found[1]] += float(found[2])
    ours = seconds - taken["Training"]
    print(f"{seconds:8.2f}  the whole chain")
    print(f"{taken['Training']:8.2f}  of it the training command")
    print(f"{ours:8.2f}  the rest (bound: {BOUND:.0f}), {taken['Data']:.2f} of it the data command")
    return ours


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
        ours = show(run, seconds)
    return int(ours >= BOUND)


if __name__ == "__main__":
    sys.exit(main())
