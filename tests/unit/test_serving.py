"""The server as a process of its own, in an environment like the image's, asked over HTTP."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_actions import config, project, uv
from mlops_actions.build import golden

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PACKAGES = ["mlflow-skinny==3.17.2", "scikit-learn>=1.7", "pandas>=2.3", "numpy>=2.2"]
MAKE = """\
import sys, warnings
warnings.filterwarnings("ignore")
import mlflow, pandas as pd, numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "n": [1, 2, 3, 4]})
target = pd.Series(["no", "no", "yes", "yes"])
out = sys.argv[1]
def save(model, name, data, **more):
    signature = mlflow.models.infer_signature(data, model.predict(data))
    mlflow.sklearn.save_model(model, f"{out}/{name}", signature=signature, input_example=data[:2],
                              pip_requirements=[], serialization_format="cloudpickle", **more)
save(LogisticRegression().fit(frame, target), "classifier", frame)
save(LinearRegression().fit(frame, frame["n"] * 2.0), "regression", frame)
save(LinearRegression().fit(frame.to_numpy(), frame["n"] * 2.0), "array", frame.to_numpy())
holes = frame.assign(a=[0.0, np.nan, 2.0, 3.0])
filled = make_pipeline(SimpleImputer(), LogisticRegression()).fit(holes, target)
save(filled, "holes", holes)
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """An interpreter with what the image has, kept between runs."""
    serving = (SCRIPTS / "mlops_actions/serving/requirements.txt").read_text()
    text = "\n".join(PACKAGES) + "\n" + serving
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = project.cache_folder() / f"test-serving-{name}"
    if not (folder / "complete").exists():
        program = str(uv.path())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(text)
        venv = [program, "venv", "--quiet", "--clear", "--python", "3.11", str(folder / "venv")]
        subprocess.run(venv, check=True, cwd=folder)
        install = [program, "pip", "install", "--quiet", "--compile-bytecode", "--python",
                   str(folder / "venv/bin/python"), "-r", "requirements.txt"]  # fmt: skip
        subprocess.run(install, check=True, cwd=folder)
        (folder / "complete").touch()
    return folder / "venv/bin/python"


@pytest.fixture(scope="session")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([str(python), "-c", MAKE, str(folder)], check=True, cwd=folder)
    return folder


class Server:
    def __init__(self, python: Path, model: Path, folder: Path, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        about = folder / "about.json"
        about.write_text('{"name": "m", "version": "7"}')
        self.log = folder / "log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "PYTHONPATH": str(SCRIPTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLOPS_MODEL": str(model),
            "MLOPS_ABOUT": str(about),
            "MLOPS_HOST": "127.0.0.1",
            "MLOPS_PORT": str(self.port),
            **settings,
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(python), "-m", "mlops_actions.serving"], env=environment, stdout=output,
                stderr=output, cwd=folder,
            )  # fmt: skip

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
        headers = {"content-type": "application/json", **headers}
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content[:1] == b"{" else {"text": content}

    def predict(self, body: object, **headers: str) -> tuple[int, dict]:
        return self.ask("POST", "/predict", body, **headers)

    def wait(self, path: str = "/ready") -> Server:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.ask("GET", path)[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def classifier(python, models, tmp_path_factory) -> Iterator[Server]:
    server = Server(python, models / "classifier", tmp_path_factory.mktemp("c"),
                    MLOPS_MAX_BODY_BYTES="2000", MLOPS_MAX_ROWS="20").wait()  # fmt: skip
    yield server
    server.end()


def test_a_classifier_gives_class_and_probabilities(classifier: Server) -> None:
    status, answer = classifier.predict({"records": [{"a": 0, "n": 1}, {"a": 3, "n": 4}]})
    assert status == 200
    assert answer["predictions"] == ["no", "yes"]
    assert answer["model"] == "m"
    assert answer["version"] == "7"
    for no, yes in zip(*(answer["probabilities"][label] for label in ("no", "yes")), strict=True):
        assert no + yes == pytest.approx(1)


def test_the_forms_agree(classifier: Server) -> None:
    split = {"columns": ["n", "a"], "data": [[1, 0.0]]}
    records = classifier.predict({"records": [{"a": 0.0, "n": 1}]})
    assert classifier.predict({"dataframe_split": split}) == records


def test_a_field_that_does_not_fit_is_named(classifier: Server) -> None:
    status, answer = classifier.predict({"records": [{"a": 0, "n": 1}, {"a": 0, "n": "x"}]})
    assert status == 422
    assert answer["problems"] == [
        {"field": "n", "row": 1, "message": "expected a whole number, got a string"}
    ]


def test_limits(classifier: Server) -> None:
    row = {"a": 0, "n": 1}
    assert classifier.predict({"records": [row] * 20})[0] == 200
    assert classifier.predict({"records": [row] * 21})[0] == 413
    assert classifier.predict(b'{"records": [' + b" " * 2000 + b"]}")[0] == 413
    assert classifier.predict(b"a=1", **{"content-type": "text/plain"})[0] == 415
    assert classifier.predict(b"{")[0] == 400
    assert classifier.ask("GET", "/predict")[0] == 405
    assert classifier.ask("GET", "/nowhere")[0] == 404


def test_a_body_without_a_length_is_limited_too(classifier: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", classifier.port, timeout=60)
    parts = (b" " * 500 for _ in range(10))
    connection.request("POST", "/predict", parts, {"content-type": "application/json"})
    assert connection.getresponse().status == 413


def test_pages(classifier: Server) -> None:
    assert classifier.ask("GET", "/health") == (200, {"status": "alive"})
    assert classifier.ask("GET", "/version")[1]["version"] == "7"
    text = classifier.ask("GET", "/metrics")[1]["text"].decode()
    assert 'mlops_model_info{name="m",version="7"} 1.0' in text
    assert 'mlops_requests_total{status="422"}' in text


def test_a_request_is_logged_as_one_json_object_without_its_input(classifier: Server) -> None:
    classifier.predict({"records": [{"a": 123.456, "n": 1}]}, **{"x-request-id": "mine-1"})
    lines = [json.loads(line) for line in classifier.log.read_text().splitlines()]
    (line,) = [one for one in lines if one.get("request_id") == "mine-1"]
    assert line["status"] == 200
    assert line["rows"] == 1
    assert "123.456" not in classifier.log.read_text()


def test_many_at_once(classifier: Server) -> None:
    bodies = [{"records": [{"a": number, "n": number}]} for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(classifier.predict, bodies))
    assert together == [classifier.predict(body) for body in bodies]


def test_a_regression_and_an_array(python, models, tmp_path) -> None:
    server = Server(python, models / "regression", tmp_path).wait()
    status, answer = server.predict({"records": [{"a": 0.0, "n": 1}]})
    assert status == 200
    assert answer["predictions"] == [pytest.approx(2.0)]
    assert "probabilities" not in answer
    assert server.end() == 0
    server = Server(python, models / "array", tmp_path).wait()
    assert server.predict({"inputs": [[0.0, 1.0]]})[1]["predictions"] == [pytest.approx(2.0)]
    assert server.predict({"inputs": [[0.0]]})[0] == 422
    assert server.end() == 0


KEEP = """\
import sys
from pathlib import Path
from mlops_actions import runner
for name, labels, function in (
    ("classifier", ["no", "yes"], None), ("regression", None, None), ("array", None, None),
    ("classifier", ["no", "yes"], "math:log"), ("holes", ["no", "yes"], None),
):
    request = {"model": f"{sys.argv[1]}/{name}", "labels": labels, "function": function,
               "not_features": []}
    target = Path(sys.argv[2], name + (function or "") + ".json")
    runner._keep_golden(request["model"], runner._predictor(request), target)
"""


def test_the_server_repeats_the_golden_rows_that_scoring_keeps(python, models, tmp_path) -> None:
    words = [str(python), "-c", KEEP, str(models), str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SCRIPTS)}
    subprocess.run(words, check=True, env=environment, cwd=tmp_path)
    kept = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    # Of an array there are none, nor where the project's own function cannot take the example.
    assert sorted(kept) == ["classifier.json", "holes.json", "regression.json"]
    assert kept["holes.json"]["records"][1]["a"] is None
    assert list(kept["classifier.json"]["probabilities"]) == ["no", "yes"]
    for name, document in kept.items():
        assert len(document["records"]) == 2
        rows = golden.Golden(**document)
        server = Server(python, models / name.removesuffix(".json"), tmp_path).wait()
        for body in rows.requests()[:1]:
            difference = golden.compare(rows, server.predict(body)[1], config.Parity())
            assert difference.problem is None
        server.end()


def test_a_model_that_cannot_be_loaded_ends_the_server(python, models, tmp_path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "MLmodel").write_text((models / "classifier/MLmodel").read_text())
    server = Server(python, broken, tmp_path)
    assert server.process.wait(120) == 1
    assert "the model cannot be loaded" in server.log.read_text()


def test_a_wrong_setting_is_named(python, models, tmp_path) -> None:
    server = Server(python, models / "classifier", tmp_path, MLOPS_THREADS="many")
    assert server.process.wait(60) == 2
    assert "MLOPS_THREADS" in server.log.read_text()
