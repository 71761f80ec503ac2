"""Rows that are changed on purpose, and what the models say of them.

Behaviour asks what a change of the input does to the answer; the explanation permutes one column
after the other. All such rows go to a model together, in one call. What was asked, and of which
row, stands in ``plan.parquet`` beside ``rows.parquet``, row by row; the gate judges it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlops_actions import evidence, project
from mlops_actions.config import Project, parse_duration
from mlops_actions.errors import Failure

FOLDER = "probe"
ROWS, PLAN, TESTS = "rows.parquet", "plan.parquet", "tests.xml"
BASE = "base"  # The case of the rows as they are.
COLUMN = "permuted: "  # Followed by the column's name.
CASE = "case: "  # Followed by the name of a case of behaviour.


def wanted(loaded: Project) -> bool:
    """Whether the policy asks anything of changed rows."""
    gate = loaded.config.gate
    behaviour = gate.behaviour
    declared = behaviour and (
        behaviour.invariance or behaviour.directional or behaviour.minimum_functionality
    )
    return bool(declared) or gate.explanation is not None


def write(loaded: Project, part: Mapping[str, Any], folder: Path) -> Path:
    """Write the changed rows of an evaluation set of ``data.json``, and the plan; give the former.

    Raises :class:`ConfigurationError` at a case that names a column or a value that does not fit.
    """
    gate = loaded.config.gate
    most = max(
        gate.behaviour.rows if gate.behaviour else 0,
        gate.explanation.rows if gate.explanation else 0,
    )
    sample = _sample(loaded, part, most)
    parts: list[pl.DataFrame] = []
    plans: list[pl.DataFrame] = []
    for case, frame in _cases(loaded, sample):
        parts.append(frame)
        plans.append(
            pl.DataFrame({"case": [case] * frame.height, "id": frame.get_column(loaded.config.id)})
        )
    folder.mkdir(parents=True, exist_ok=True)
    pl.concat(parts).write_parquet(folder / ROWS)
    pl.concat(plans).write_parquet(folder / PLAN)
    return folder / ROWS


def run_tests(
    loaded: Project, environment: project.Environment, model: Path, folder: Path
) -> evidence.Check | None:
    """Run the user's own tests of behaviour; that they fail is the gate's to say."""
    behaviour = loaded.config.gate.behaviour
    if behaviour is None or behaviour.tests is None:
        return None
    path = loaded.path(behaviour.tests)
    if not path.is_file():
        raise loaded.error(f"{behaviour.tests} does not exist.", "gate", "behaviour", "tests")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        project.ask_runner(
            environment,
            "behaviour-tests",
            cwd=loaded.folder,
            timeout=parse_duration(behaviour.timeout).total_seconds(),
            tests=str(path.resolve()),
            output=str((folder / TESTS).resolve()),
            **project.model_request(loaded, model),
        )
    except Failure as problem:
        return evidence.check("score:behaviour-tests", "inconclusive", message=problem.message)
    return evidence.check("score:behaviour-tests", "pass")


def _sample(loaded: Project, part: Mapping[str, Any], most: int) -> pl.DataFrame:
    """Read rows of an evaluation set, drawn without replacement, in an order that is drawn, too."""
    files = [loaded.folder / file["path"] for file in part["files"]]
    scan = pl.scan_parquet if files[0].suffix == ".parquet" else pl.scan_csv
    rows = int(part["rows"])
    drawn = np.random.default_rng(loaded.config.gate.seed).permutation(rows)[:most]
    lazy = scan(files) if len(files) > 1 else scan(files[0])
    order = pl.LazyFrame({"__row": drawn.astype(np.uint32), "__place": np.arange(len(drawn))})
    found = lazy.with_row_index("__row").join(order, on="__row").sort("__place")
    return found.drop("__row", "__place").collect()


def _cases(loaded: Project, sample: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Give each case with its rows: all have the columns and the types of the sample."""
    gate, schema = loaded.config.gate, sample.schema
    yield BASE, sample
    if gate.behaviour is not None:
        changed = sample.head(gate.behaviour.rows)
        where = ("gate", "behaviour")
        for place, one in enumerate(gate.behaviour.invariance):
            _known(loaded, schema, one.change, *where, "invariance", place)
            for values in itertools.product(*one.change.values()):
                put = dict(zip(one.change, values, strict=True))
                columns = [_literal(loaded, schema, put, name) for name in put]
                yield CASE + one.name, changed.with_columns(columns)
        for place, step in enumerate(gate.behaviour.directional):
            _known(loaded, schema, step.add, *where, "directional", place)
            columns = [
                (pl.col(name) + by).cast(schema[name]).alias(name) for name, by in step.add.items()
            ]
            yield CASE + step.name, changed.with_columns(columns)
        for place, known in enumerate(gate.behaviour.minimum_functionality):
            for row in known.rows:
                _known(loaded, schema, row, *where, "minimum_functionality", place)
            frames = [
                pl.select(_literal(loaded, schema, row, name) for name in schema)
                for row in known.rows
            ]
            yield CASE + known.name, pl.concat(frames)
    if gate.explanation is not None:
        rows = sample.head(gate.explanation.rows)
        config = loaded.config
        for number, name in enumerate(schema):
            if name in {config.id, config.target, config.weight}:
                continue
            for repeat in range(gate.explanation.repeats):
                seed = [gate.seed, number, repeat]
                order = np.random.default_rng(seed).permutation(rows.height)
                yield COLUMN + name, rows.with_columns(rows.get_column(name)[order])


def _known(loaded: Project, schema: pl.Schema, given: Mapping[str, Any], *where: str | int) -> None:
    for name in given:
        if name not in schema:
            raise loaded.error(f"The evaluation set has no column {name}.", *where)


def _literal(loaded: Project, schema: pl.Schema, values: Mapping[str, Any], name: str) -> pl.Expr:
    value, kind = values.get(name), schema[name]
    try:
        column = pl.Series(name, [value])
        if isinstance(value, str) and isinstance(kind, (pl.Date, pl.Datetime, pl.Time)):
            column = column.str.strptime(kind)
        else:
            column = column.cast(kind)
    except pl.exceptions.PolarsError:
        raise loaded.error(
            f"{value!r} does not fit the column {name}, which holds {kind}.", "gate", "behaviour"
        ) from None
    return pl.lit(column).first().alias(name)
