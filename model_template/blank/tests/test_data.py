"""The data: no row in two sets, no label among the features, and a schema that bites."""

from itertools import combinations

import pandera.polars as pa
import polars as pl
import pytest
import yaml
from conftest import PROJECT

from model.features import FEATURES, TARGET
from model.prepare import SETS, split


def test_the_label_is_no_feature():
    assert TARGET not in FEATURES
    assert "id" not in FEATURES


def test_no_row_is_in_two_sets(rows):
    """Yours: nor a person, a day, or what else must stay together."""
    ids = {name: set(part["id"]) for name, part in split(rows).items()}
    assert sum(SETS.values()) == 100
    assert sum(map(len, ids.values())) == len(rows) == len(set(rows["id"]))
    assert all(len(found) > 100 for found in ids.values())
    assert all(not ids[one] & ids[other] for one, other in combinations(ids, 2))


def test_a_row_stays_in_its_set_when_others_come(rows):
    before, after = split(rows.head(300)), split(rows)
    assert all(set(before[name]["id"]) <= set(after[name]["id"]) for name in SETS)


@pytest.fixture(scope="module")
def schema(mlops):
    return pa.DataFrameSchema.from_yaml(PROJECT / mlops["data"]["schema"])


def test_mlops_yaml_names_what_there_is(schema, mlops):
    """A name that is wrong there is seen here, and not on the pull request."""
    pipeline = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    files = {mlops["data"]["training"], *mlops["data"]["evaluation"].values()}
    assert files <= set(pipeline["prepare"]["outs"])
    assert mlops["train"]["stage"] in pipeline
    named = {mlops[key] for key in ("id", "target", "group", "time", "weight") if key in mlops}
    named |= {name for part in mlops["gate"].get("slices", []) for name in part["columns"]}
    assert named <= set(schema.columns)
    assert mlops["target"] == TARGET


@pytest.fixture
def frame(rows, tmp_path):
    """The rows as the workflows see them: read from Parquet by polars."""
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    return pl.read_parquet(tmp_path / "rows.parquet")


def test_schema_accepts_the_data(schema, frame):
    schema.validate(frame)


@pytest.mark.parametrize(
    ("column", "value"),
    [  # Yours: what the schema must refuse.
        ("id", "tumour-000"),  # Occurs already.
        ("mean_radius", -1.0),
        ("mean_smoothness", 1.5),
        ("malignant", 2),
        ("malignant", None),
    ],
)
def test_schema_refuses_a_bad_row(schema, frame, column, value):
    last = pl.int_range(pl.len()) == len(frame) - 1
    bad = frame.with_columns(pl.when(last).then(pl.lit(value)).otherwise(column).alias(column))
    with pytest.raises((pa.errors.SchemaError, pa.errors.SchemaErrors), match=column):
        schema.validate(bad.cast({column: frame.schema[column]}))


def test_schema_refuses_a_column_more_or_less(schema, frame):
    for bad in (frame.drop(FEATURES[0]), frame.with_columns(another=1)):
        with pytest.raises((pa.errors.SchemaError, pa.errors.SchemaErrors)):
            schema.validate(bad)
