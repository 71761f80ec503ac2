"""The gate as a whole process: 1,000,000 rows, four metrics, 20 slices, worth 10,000 resamples.

    python tests/benchmarks/bench_gate.py [--repeat N]

Reads candidate, champion and evaluation file as Parquet, judges, tries the self-test's mutants,
writes the evidence and prints the table. Ends with 1 when a promise is broken: 15 seconds of wall
clock (the median) and 2 GB of peak memory, on two cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "bench" / "gate"
ROWS = 1_000_000
SECONDS, BYTES = 15.0, 2e9
CONFIG = """\
name: bench
task: classification
target: late
labels: [0, 1]
id: row
data: {training: none.parquet, evaluation: evaluation.parquet}
gate:
  metrics:
    roc_auc: {threshold: 0.6, non_inferiority_margin: 0.01}
    log_loss: {non_inferiority_margin: 0.01}
    f1: {non_inferiority_margin: 0.01}
    brier_score: {non_inferiority_margin: 0.01}
  slices: [{columns: [origin]}, {columns: [carrier]}]
  resamples: 10000
"""


def make_data():
    """Write two models' answers, as good as each other, and 20 slices: ten by each column."""
    import numpy as np
    import polars as pl

    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "mlops.yaml").write_text(CONFIG)
    random = np.random.default_rng(7)
    target = (random.random(ROWS) < 0.2).astype(np.int64)
    common = random.normal(size=ROWS)
    codes = random.integers(0, 10, (2, ROWS))
    row = np.arange(ROWS)
    pl.DataFrame(
        {"row": row, "late": target, "origin": codes[0], "carrier": codes[1]}
    ).write_parquet(BENCH / "evaluation.parquet")
    for name in ("candidate", "champion"):
        score = 0.92 * common + 0.39 * random.normal(size=ROWS) + 1.6 * target
        chance = 1 / (1 + 4 * np.exp(-1.6 * (score - 0.8)))
        pl.DataFrame(
            {
                "id": row,
                "prediction": (chance > 0.5).astype(np.int64),
                "probability_0": 1 - chance,
                "probability_1": chance,
            }
        ).write_parquet(BENCH / f"{name}.parquet")


def measure():
    """Run the gate; give wall seconds and peak bytes, or end with what it said."""
    command = [sys.executable, "-m", "mlops_actions", "gate", "--config", str(BENCH / "mlops.yaml")]
    for name in ("candidate", "champion", "evaluation"):
        command += [f"--{name}", str(BENCH / f"{name}.parquet")]
    command += ["--output", str(BENCH / "gate.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    environment.pop("GITHUB_WORKSPACE", None)
    started = time.perf_counter()
    with (BENCH / "out.txt").open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    said = (BENCH / "out.txt").read_text()
    if os.waitstatus_to_exitcode(status) or "verdict: blessed" not in said:
        sys.exit(said)
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    """Measure, print, and say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    make_data()
    runs = [measure() for _ in range(repeat)]
    seconds = statistics.median(seconds for seconds, _ in runs)
    memory = max(memory for _, memory in runs)
    print(
        f"gate, {ROWS:,} rows, 4 metrics, 20 slices, {repeat} runs, load {os.getloadavg()[0]:.1f}"
    )
    print(f"  {seconds:6.1f} s (promise {SECONDS:.0f})   {memory / 1e9:.2f} GB (promise 2)")
    return 0 if seconds <= SECONDS and memory <= BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
