"""Paired intervals: time and memory of whole processes, and of SciPy's bootstrap beside them.

    python tests/benchmarks/bench_intervals.py [--repeat N]

Ours compares two models on 100,000 rows by ROC-AUC, log loss and F1, worth 10,000 resamples; then
on 1,000,000 rows by four metrics in 20 slices, with and without groups, with Holm's correction and
simultaneous intervals. SciPy's percentile bootstrap of the same three metrics is run with 100
resamples and counted a hundredfold. Python code is compiled beforehand on both sides.
Ends with 1 when a promise is broken: 2 seconds for the first; 9 seconds and 1.5 GB for the second,
which leaves the rest of the gate's 15 seconds and 2 GB to reading and reporting.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "bench" / "intervals"
SCIPY_RESAMPLES = 100
RESAMPLES = 10_000
SIZES = {"small": 100_000, "large": 1_000_000}
SLICES = 20


def make_data():
    import numpy as np

    BENCH.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    for size, rows in SIZES.items():
        target = (random.random(rows) < 0.2).astype(np.int64)
        common = random.normal(size=rows)
        sides = []
        for height in (1.6, 1.5):
            score = 0.92 * common + 0.39 * random.normal(size=rows) + height * target
            sides.append(1 / (1 + 4 * np.exp(-height * (score - height / 2))))
        # Two columns of ten slices: every row is in one slice of each.
        codes = random.integers(0, SLICES // 2, (2, rows))
        group = random.integers(0, 365, rows)
        for name, values in (
            ("target", target),
            ("candidate", sides[0]),
            ("champion", sides[1]),
            ("codes", codes),
            ("group", group),
        ):
            np.save(BENCH / f"{size}-{name}.npy", values)


def load(size, *, grouped=False):
    import numpy as np

    from mlops_actions.gate.statistics.metrics import Scored

    def read(name):
        return np.load(BENCH / f"{size}-{name}.npy")

    target, group = read("target"), read("group") if grouped else None
    return [
        Scored(
            target=target,
            prediction=(p > 0.5).astype(np.int64),
            probability=np.stack([1 - p, p], axis=1),
            labels=(0, 1),
            group=group,
        )
        for p in (read("candidate"), read("champion"))
    ]


def side_ours():
    from mlops_actions.gate.statistics.comparison import compare
    from mlops_actions.gate.statistics.metrics import lookup

    sides = load("small")
    for name in ("roc_auc", "log_loss", "f1"):
        found = compare(lookup(name, "classification"), *sides, resamples=RESAMPLES)
        print(name, found.difference.low, found.difference.high)


def side_slices(*, grouped=False):
    import numpy as np

    from mlops_actions.gate.statistics.comparison import compare
    from mlops_actions.gate.statistics.metrics import lookup
    from mlops_actions.gate.statistics.multiplicity import holm, simultaneous

    sides = load("large", grouped=grouped)
    codes = np.load(BENCH / "large-codes.npy")
    slices = [np.flatnonzero(column == k) for column in codes for k in range(SLICES // 2)]
    gains = []
    for name in ("roc_auc", "log_loss", "f1", "brier_score"):
        metric = lookup(name, "classification")
        compare(metric, *sides)
        gains.extend(compare(metric, *sides, rows=rows, influence=True).gain() for rows in slices)
    print(min(holm([gain.p_value(0.0, "less") for gain in gains])))
    print(simultaneous(gains)[0])


def side_grouped_slices():
    side_slices(grouped=True)


def side_scipy():
    import numpy as np
    from scipy.stats import bootstrap, rankdata

    target, *sides = (
        np.load(BENCH / f"small-{n}.npy") for n in ("target", "candidate", "champion")
    )

    def roc_auc(y, p):
        positives = y.sum()
        inner = rankdata(p)[y == 1].sum() - positives * (positives + 1) / 2
        return inner / (positives * (len(y) - positives))

    def log_loss(y, p):
        return -np.log(np.where(y == 1, p, 1 - p)).mean()

    def f1(y, p):
        predicted = p > 0.5
        return 2 * np.sum(predicted & (y == 1)) / (predicted.sum() + y.sum())

    for metric in (roc_auc, log_loss, f1):

        def difference(index, metric=metric):
            y = target[index]
            return metric(y, sides[0][index]) - metric(y, sides[1][index])

        found = bootstrap(
            (np.arange(len(target)),),
            difference,
            n_resamples=SCIPY_RESAMPLES,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(0),
        )
        print(metric.__name__, *found.confidence_interval)


SIDES = {
    "ours": side_ours,
    "scipy": side_scipy,
    "slices": side_slices,
    "grouped slices": side_grouped_slices,
}


def measure(side):
    """Return (seconds, peak in MB) of a whole process."""
    drop = {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    variables = {name: value for name, value in os.environ.items() if name not in drop}
    variables |= {
        "PYTHONPATH": str(ROOT / "scripts"),
        "PYTHONPYCACHEPREFIX": str(BENCH / "bytecode"),
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), "--side", side],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{side} failed:\n{errors.decode()[-3000:]}")
    return seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=[*SIDES, "data"])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.side == "data":
        make_data()
        return 0
    if args.side:
        SIDES[args.side]()
        return 0
    # In a process of its own: a child's peak counts what its parent held when it was forked.
    subprocess.run([sys.executable, str(Path(__file__)), "--side", "data"], check=True)
    measure("ours")  # Compiles.
    found = {side: [] for side in SIDES}
    for _ in range(args.repeat):  # In turn, so that a busy moment hits every side.
        for side, items in found.items():
            if side != "scipy" or not items:
                items.append(measure(side))
    seconds = {side: statistics.median(item[0] for item in items) for side, items in found.items()}
    peak = {side: statistics.median(item[1] for item in items) for side, items in found.items()}
    seconds["scipy"] *= RESAMPLES / SCIPY_RESAMPLES
    labels = {
        "ours": ("ours, 100,000 rows, 3 metrics", 2.0),
        "scipy": ("scipy.stats.bootstrap, the same", None),
        "slices": ("ours, 1,000,000 rows, 4 metrics, 20 slices", 9.0),
        "grouped slices": ("the same, by 365 groups", 9.0),
    }
    kept = True
    print(f"{'':44}{'seconds':>9}{'at most':>9}{'peak MB':>9}")
    for side, (label, limit) in labels.items():
        print(f"{label:44}{seconds[side]:>9.2f}{limit or '':>9}{peak[side]:>9.0f}")
        kept &= limit is None or (seconds[side] < limit and peak[side] < 1500)
    print(f"SciPy takes {seconds['scipy'] / seconds['ours']:,.0f} times as long (extrapolated)")
    print("promises kept" if kept else "PROMISES BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
