from pathlib import Path

import polars as pl
import pytest
import yaml

from model.prepare import describe, read_flights

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def params() -> dict:
    return yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def mlops() -> dict:
    return yaml.safe_load((PROJECT / "mlops.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def raw() -> pl.DataFrame:
    return read_flights()


@pytest.fixture(scope="session")
def flights(raw: pl.DataFrame, params: dict) -> pl.DataFrame:
    return describe(raw, params["prepare"]["late_after"])
