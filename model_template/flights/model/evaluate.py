"""Stage evaluate: metrics and a calibration plot for DVC.

Only of the development set: who tunes with an eye on the release set has none any more.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from sklearn.calibration import calibration_curve

from model.features import FEATURES, TARGET
from model.measure import measure
from model.stored import load

OUTPUT = Path("output")


def main() -> None:
    """Write output/metrics.json and output/calibration.csv."""
    development = pd.read_parquet("data/development.parquet")
    probability = load().predict_proba(development[FEATURES])[:, 1]
    metrics = {"development": measure(development[TARGET], probability)}
    (OUTPUT / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    observed, predicted = calibration_curve(
        development[TARGET], probability, n_bins=20, strategy="quantile"
    )
    curve = pd.DataFrame({"predicted": predicted, "observed": observed})
    curve.to_csv(OUTPUT / "calibration.csv", index=False, float_format="%.6f")


if __name__ == "__main__":
    main()
