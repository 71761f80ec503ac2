"""The generated repositories on a laptop: their own tests, pipeline and runs, in their own lock."""

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import copier
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


class Laptop:
    """A generated repository and its environment, with nothing of ours in the variables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        dropped = ("UV_", "MLFLOW_", "MLOPS_", "PYTHON", "VIRTUAL_ENV", "GITHUB_", "DVC_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        self.environment = kept | {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *command: str, ok: bool = True, **variables: str) -> str:
        answer = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1200,
        )
        assert (answer.returncode == 0) == ok, answer.stdout
        return answer.stdout

    def uv(self, *command: str, **variables: str) -> str:
        return self.run("uv", *command, **variables)

    def count(self, table: str) -> int:
        with sqlite3.connect(self.folder / "mlflow.db") as store:
            return store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608


@pytest.fixture(scope="module", params=["flights", "blank"])
def laptop(request, tmp_path_factory) -> Laptop:
    if shutil.which("uv") is None:
        pytest.fail("uv is not installed: `tools/bootstrap python` does it.")
    folder = tmp_path_factory.mktemp("laptop") / request.param
    answers = {"example": request.param, "name": request.param}
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, vcs_ref="HEAD", quiet=True)
    laptop = Laptop(folder)
    laptop.run("git", "init", "--quiet", "--initial-branch", "main")
    laptop.run("git", "add", "--all")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    laptop.run("git", *identity, "commit", "--quiet", "--message", "Start")
    # Compiling is worth its seconds: several processes import MLflow.
    laptop.uv("sync", "--locked", "--compile-bytecode")
    laptop.log = laptop.uv("run", "--no-sync", "dvc", "repro")
    return laptop


def test_its_lock_is_current(laptop: Laptop):
    laptop.uv("lock", "--check")


def test_its_own_tests_pass(laptop: Laptop):
    assert " passed" in laptop.uv("run", "--no-sync", "pytest", "-q", "-p", "no:cacheprovider")


def test_its_pipeline_trains_one_model_that_is_worth_it(laptop: Laptop):
    assert laptop.count("runs") == 1
    assert laptop.count("logged_models") == 1
    metrics = json.loads((laptop.folder / "output" / "metrics.json").read_text())["development"]
    least, most = {"flights": (0.66, 0.68), "blank": (0.98, 1.0)}[laptop.folder.name]
    assert least < metrics["roc_auc"] < most
    assert metrics["log_loss"] < 0.5
    assert len((laptop.folder / "output" / "calibration.csv").read_text().splitlines()) > 10


def test_it_says_what_it_left_out(laptop: Laptop):
    if laptop.folder.name == "flights":
        assert "9,430 of 336,776 flights" in laptop.log


def test_git_sees_what_is_to_be_committed_and_nothing_else(laptop: Laptop):
    seen = laptop.run("git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert sorted(filter(None, seen)) == [
        "?? dvc.lock",
        "?? output/calibration.csv",
        "?? output/metrics.json",
    ]


def test_a_smoke_run_takes_its_sample_and_seed(laptop: Laptop, tmp_path: Path):
    store = f"sqlite:///{tmp_path / 'smoke.db'}"
    laptop.uv(
        "run", "--no-sync", "python", "-m", "model.train",
        MLFLOW_TRACKING_URI=store, MLFLOW_EXPERIMENT_NAME="smoke", MLOPS_SAMPLE="0.5",
        MLOPS_SEED="7",
    )  # fmt: skip
    with sqlite3.connect(tmp_path / "smoke.db") as opened:
        params = dict(opened.execute("SELECT key, value FROM params"))
        experiments = opened.execute(
            "SELECT e.name FROM runs r JOIN experiments e USING (experiment_id)"
        ).fetchall()
    assert experiments == [("smoke",)]
    assert (params["seed"], params["sample"]) == ("7", "0.5")
    assert laptop.count("runs") == 1
    # It overwrote the pipeline's model, which DVC sees: it puts the model of its cache back.
    again = laptop.uv("run", "--no-sync", "dvc", "repro")
    assert "Stage 'train' is cached - skipping run, checking out outputs" in again
    assert "Running stage" not in again


def test_a_parameter_trains_again_and_prepares_nothing(laptop: Laptop):
    runs = laptop.count("runs")
    path = laptop.folder / "params.yaml"
    old, new = {"flights": ("max_iter: 200", "max_iter: 5"), "blank": ("c: 1.0", "c: 0.5")}[
        laptop.folder.name
    ]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    log = laptop.uv("run", "--no-sync", "dvc", "repro")
    assert "Running stage 'prepare'" not in log
    assert "Running stage 'evaluate'" in log
    assert laptop.count("runs") == runs + 1
