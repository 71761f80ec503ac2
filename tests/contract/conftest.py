"""Repositories made from the template, once for all tests here."""

from pathlib import Path

import copier
import pytest
from sources import ROOT


@pytest.fixture(scope="session", params=["flights", "blank"])
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / request.param
    answers = {"example": request.param}
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, vcs_ref="HEAD", quiet=True)
    return folder
