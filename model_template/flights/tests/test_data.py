"""The data: nothing from after the departure, no day in two sets, and a schema that bites."""

from datetime import date
from itertools import combinations

import pandera.polars as pa
import polars as pl
import pytest
import yaml
from conftest import PROJECT

from model.features import FEATURES, TARGET
from model.prepare import describe, minutes, split

# Known only when the plane has left.
AFTERWARDS = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"]


def test_label_is_later_than_fifteen_minutes(raw, flights):
    assert len(flights) == raw["arr_delay"].drop_nulls().len() == 327_346
    assert flights[TARGET].sum() == (raw["arr_delay"] > 15).sum()


def test_ids_are_unique(flights):
    assert flights["flight_id"].is_unique().all()


def test_features_are_known_before_departure(raw, flights):
    """What happens to the flights changes no feature."""
    other = raw.with_columns(pl.col(AFTERWARDS).reverse())
    changed = describe(
        other.with_columns(arr_delay=pl.when(raw["arr_delay"].is_not_null()).then(99)), 15
    )
    assert TARGET not in FEATURES
    assert not set(FEATURES) & set(AFTERWARDS)
    assert changed.drop(TARGET).equals(flights.drop(TARGET))
    assert not changed[TARGET].equals(flights[TARGET])


def test_a_clock_becomes_minutes():
    clock = pl.DataFrame({"clock": [0, 59, 100, 1745, 2359, 2400]})
    assert clock.select(minutes("clock")).to_series().to_list() == [0, 59, 60, 1065, 1439, 0]


def test_no_day_is_in_two_sets(flights, params):
    parts = split(flights, params["prepare"])
    days = {name: set(part["date"]) for name, part in parts.items()}
    assert all(days.values())
    assert all(not days[one] & days[other] for one, other in combinations(days, 2))
    assert max(days["training"]) < min(days["development"])
    assert max(days["development"]) < min(days["release"])


def test_frozen_days_are_never_trained_on(flights, params):
    wide = params["prepare"] | {"training": ["2013-01-01", "2013-03-31"]}
    parts = split(flights, wide)
    assert min(parts["training"]["date"]) == date(2013, 2, 1)
    assert parts["regression"].equals(split(flights, params["prepare"])["regression"])


def test_windows_that_share_a_day_are_refused(flights, params):
    last = params["prepare"]["development"][1]
    wrong = params["prepare"] | {"release": [last, params["prepare"]["release"][1]]}
    with pytest.raises(SystemExit, match="before the next begins"):
        split(flights, wrong)


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


def test_schema_accepts_the_data(schema, flights):
    schema.validate(flights)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("carrier", "american"),
        ("origin", "BOS"),
        ("distance", -1),
        ("weekday", 8),
        ("departure", 1440),
        ("late", 2),
        ("late", None),
        ("flight_id", "2013-01-01-UA-1545-EWR"),  # Occurs already.
    ],
)
def test_schema_refuses_a_bad_row(schema, flights, column, value):
    few = flights.head(200).filter(pl.col("flight_id") != "")
    assert "2013-01-01-UA-1545-EWR" in few["flight_id"]
    last = pl.int_range(pl.len()) == len(few) - 1
    bad = few.with_columns(pl.when(last).then(pl.lit(value)).otherwise(column).alias(column))
    with pytest.raises((pa.errors.SchemaError, pa.errors.SchemaErrors), match=column):
        schema.validate(bad.cast({column: few.schema[column]}))


@pytest.mark.parametrize("change", ["gone", "added", "type"])
def test_schema_refuses_other_columns(schema, flights, change):
    few = flights.head(200)
    bad = {
        "gone": few.drop("dest"),
        "added": few.with_columns(dep_delay=0),
        "type": few.with_columns(pl.col("distance").cast(pl.Float64)),
    }[change]
    with pytest.raises((pa.errors.SchemaError, pa.errors.SchemaErrors)):
        schema.validate(bad)
