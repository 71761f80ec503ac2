"""Small prediction sets for the tests of the gate."""

from pathlib import Path

import numpy as np
import polars as pl

from mlops_actions import config
from mlops_actions.config import Project

HEAD = """\
name: late
task: classification
target: late
labels: [0, 1]
id: row
data: {training: training.parquet, evaluation: evaluation.parquet}
gate:
"""


def project(gate: str, *, head: str = HEAD) -> Project:
    """Read a configuration with this section `gate`, indented by two."""
    body = "".join(f"  {line}\n" for line in gate.strip().splitlines())
    return config.parse(head + body, Path("mlops.yaml"))


def rows(count: int = 400, seed: int = 0) -> pl.DataFrame:
    """Make an evaluation set: id, target and what divides it."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=count)
    return pl.DataFrame(
        {
            "id": np.arange(count),
            "target": (random.random(count) < 1 / (1 + np.exp(-2 * signal))).astype(np.int64),
            "signal": signal,
            "origin": random.choice(["EWR", "JFK", "LGA"], count),
        }
    )


def answers(rows: pl.DataFrame, *, noise: float = 0.3, seed: int = 1) -> pl.DataFrame:
    """Let a model answer; more noise, worse answers."""
    random = np.random.default_rng(seed)
    score = 2 * rows["signal"].to_numpy() + noise * random.normal(size=rows.height)
    probability = 1 / (1 + np.exp(-score))
    return rows.drop("signal").with_columns(
        prediction=pl.Series((probability > 0.5).astype(np.int64)),
        probability_0=pl.Series(1 - probability),
        probability_1=pl.Series(probability),
    )


def write(folder: Path, **frames: pl.DataFrame) -> dict[str, Path]:
    """Write each frame as Parquet; give the paths by name."""
    paths = {}
    for name, frame in frames.items():
        paths[name] = folder / f"{name}.parquet"
        frame.write_parquet(paths[name])
    return paths
