from pathlib import Path

import pandas as pd
import pytest
import yaml

from model.prepare import read

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def params() -> dict:
    return yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def mlops() -> dict:
    return yaml.safe_load((PROJECT / "mlops.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    return read()
