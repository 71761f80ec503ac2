"""A repository made from the template, once for all tests here."""

from pathlib import Path

import copier
import pytest
from sources import ROOT


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "my-model"
    copier.run_copy(str(ROOT), folder, defaults=True, vcs_ref="HEAD", quiet=True)
    return folder
