"""Stage evaluate: metrics and a calibration plot for DVC.

Only of the development set: who tunes with an eye on the release set has none any more.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from model.features import TARGET
from model.measure import measure, predict
from model.stored import load

OUTPUT = Path("output")
DIGITS = 6  # Those behind may differ between machines, and DVC would see a change.
BINS = 20


def main() -> None:
    """Write output/metrics.json and output/calibration.csv."""
    development = pd.read_parquet("data/development.parquet")
    rows = pd.DataFrame(
        {"predicted": predict(load(), development), "observed": development[TARGET]}
    )
    measured = measure(rows["observed"], rows["predicted"])
    metrics = {"development": {name: round(value, DIGITS) for name, value in measured.items()}}
    (OUTPUT / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    # Bins of as many rows each: on the average, what happened is what was predicted.
    bins = pd.qcut(rows["predicted"], BINS, duplicates="drop")
    curve = rows.groupby(bins, observed=True).mean()
    curve.to_csv(OUTPUT / "calibration.csv", index=False, float_format=f"%.{DIGITS}f")


if __name__ == "__main__":
    main()
