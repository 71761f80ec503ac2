"""The one file that runs in the project environment, beside user code.

It needs nothing but what the project has: an MLflow client, and pandas or polars to read Parquet.
Its argument is a command, its first line of input a JSON object with what that needs, its answer
files. It must not import anything else of ours: the project does not have it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

WRONG = 3  # Exit code: the message on the last line is for the user.
GOLDEN = 100  # Most rows of an input example that are kept with their predictions.


class Wrong(Exception):
    """Something the user can act on."""


def _plain_path(uri: str) -> Path:
    parsed = urlparse(uri)
    if parsed.scheme not in {"", "file"}:
        raise Wrong(
            f"The run keeps its files at {parsed.scheme}:, out of our reach. Leave "
            "MLFLOW_TRACKING_URI and the artifact location as the environment sets them."
        )
    return Path(unquote(parsed.path))


def _import_store() -> None:
    with contextlib.suppress(ImportError):  # It is told when it is needed.
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def _client(store: str) -> Any:
    os.environ["MLFLOW_TRACKING_URI"] = store
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=store)


def _all_runs(client: Any) -> tuple[list[Any], list[str]]:
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs, experiments


def _logged_models(
    client: Any, experiments: list[str], runs: list[Any]
) -> list[tuple[str, str, Path, dict[str, str]]]:
    """Give (run id, name, folder, params) of each model that the runs logged."""
    found: list[tuple[str, str, Path, dict[str, str]]] = []
    if hasattr(client, "search_logged_models"):
        token = None
        while experiments:
            page = client.search_logged_models(experiments, page_token=token)
            for model in page:
                if model.source_run_id:
                    folder = _plain_path(model.artifact_location)
                    params = {key: str(value) for key, value in (model.params or {}).items()}
                    found.append((model.source_run_id, model.name, folder, params))
            token = page.token
            if not token:
                break
    if not found:  # MLflow 2 keeps models among the artifacts of the run.
        for run in runs:
            history = json.loads(run.data.tags.get("mlflow.log-model.history", "[]"))
            for entry in history:
                folder = _plain_path(run.info.artifact_uri) / entry["artifact_path"]
                found.append((run.info.run_id, entry["artifact_path"], folder, {}))
    return found


def export(store: str, output: str, *, failed: bool) -> None:
    """Write the run that the training command logged: ``run.json``, ``model/``, ``artifacts/``.

    With ``failed``, runs that the command left open are marked FAILED and no model is asked for.
    """
    client = _client(store)
    runs, experiments = _all_runs(client)
    for run in runs:
        if run.info.status in {"RUNNING", "SCHEDULED"}:
            client.set_terminated(run.info.run_id, "FAILED" if failed else "FINISHED")
    runs, experiments = _all_runs(client)
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    models = _logged_models(client, experiments, runs)
    # A search logs a model in each nested run; the model of the run around them is the answer.
    outer = [model for model in models if not parents.get(model[0])]
    chosen = outer or models
    if not failed:
        if not runs:
            raise Wrong("no-run")
        if not chosen:
            raise Wrong("no-model")
        if len(chosen) > 1:
            listed = ", ".join(f"{name} in run {run_id}" for run_id, name, _, _ in chosen)
            raise Wrong(
                f"The command logged {len(chosen)} models ({listed}); one is expected. In a "
                "search, log the best one in the parent run and the others in nested runs."
            )
    if not runs:
        return
    if failed:
        run = next((r for r in runs if not parents[r.info.run_id]), runs[0])
        model = None
    else:
        run_id, name, source, params = chosen[0]
        run = next((r for r in runs if r.info.run_id == run_id), None)
        if run is None:
            raise Wrong(f"The logged model names run {run_id}, which does not exist.")
        model = {"name": name, "params": params}
    info = run.info
    metrics = {
        key: [
            {"value": _number(item.value), "timestamp": item.timestamp, "step": item.step}
            for item in client.get_metric_history(info.run_id, key)
        ]
        for key in run.data.metrics
    }
    inputs = run.inputs.dataset_inputs if run.inputs else []
    document = {
        "schema": 1,
        "run_id": info.run_id,
        "name": info.run_name or "",
        "status": "FAILED" if failed else info.status,
        "start": info.start_time,
        "end": info.end_time,
        "params": dict(run.data.params),
        "metrics": metrics,
        "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
        "datasets": [{"name": i.dataset.name, "digest": i.dataset.digest} for i in inputs],
        "model": model,
    }
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    if model:
        shutil.copytree(source, target / "model", symlinks=True)
    kept = _plain_path(info.artifact_uri)
    if kept.is_dir():
        shutil.copytree(
            kept,
            target / "artifacts",
            symlinks=True,
            ignore=lambda folder, names: (
                [entry for entry in names if (Path(folder) / entry).resolve() == source.resolve()]
                if model
                else []
            ),
        )
    (target / "run.json").write_text(json.dumps(document, indent=2), encoding="utf-8")


def _number(value: float) -> float | str:
    # JSON has no word for them; pydantic reads these strings as the floats they are.
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _frames() -> tuple[Any, bool]:
    """Give the project's data frame library, and whether it is pandas."""
    try:
        import pandas as pd
    except ImportError:
        import polars as pl

        return pl, False
    return pd, True


def _user_function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    return getattr(importlib.import_module(module), attribute)


def _native(folder: str) -> Any:
    """Give the native model where MLflow's flavour can load it, else ``None``."""
    from mlflow.models import Model

    flavours = Model.load(folder).flavors
    loader = flavours.get("python_function", {}).get("loader_module", "")
    if not loader.startswith("mlflow.") or loader.startswith("mlflow.pyfunc"):
        return None
    load = getattr(importlib.import_module(loader), "load_model", None)
    return load(folder) if load else None


@functools.cache
def _signature(folder: str) -> Any:
    from mlflow.models import Model

    return Model.load(folder).get_input_schema()  # type: ignore[no-untyped-call]


def _features(folder: str, frame: Any, drop: list[str]) -> Any:
    signature = _signature(folder)
    if signature is not None and signature.has_input_names():
        names = signature.input_names()
        required = set(signature.required_input_names())
        missing = [name for name in names if name not in frame.columns and name in required]
        if missing:
            raise Wrong(f"The evaluation set lacks the model's column {', '.join(missing)}.")
        return frame[[name for name in names if name in frame.columns]]
    return frame[[name for name in frame.columns if name not in drop]]


def _predictor(request: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    """Load the model once; give what predicts a frame, column by column."""
    folder, labels = request["model"], request["labels"]
    native = _native(folder) if labels or request["function"] else None
    if request["function"]:
        function = _user_function(request["function"])
        model = native if native is not None else _pyfunc(folder)
        return lambda frame: _columns_of(function(model, frame))
    if native is not None and hasattr(native, "predict_proba"):
        classes = [str(item) for item in native.classes_.tolist()]
        wanted = [str(label) for label in labels]
        if sorted(classes) != sorted(wanted):
            raise Wrong(f"The model knows the classes {classes}; mlops.yaml names {wanted}.")

        def answer(frame: Any) -> dict[str, Any]:
            matrix = native.predict_proba(_features(folder, frame, request["not_features"]))
            columns = {"prediction": native.classes_[matrix.argmax(axis=1)]}
            for label in wanted:
                columns[f"probability_{label}"] = matrix[:, classes.index(label)]
            return columns

        return answer
    loaded = _pyfunc(folder)
    return lambda frame: _columns_of(
        loaded.predict(_features(folder, frame, request["not_features"]))
    )


def _pyfunc(folder: str) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(folder)


def _columns_of(answer: Any) -> dict[str, Any]:
    if isinstance(answer, dict):
        return answer
    if hasattr(answer, "columns"):
        names = list(answer.columns)
        if len(names) == 1:
            return {"prediction": answer[names[0]]}
        return {name: answer[name] for name in names}
    if len(getattr(answer, "shape", (0,))) > 1 and answer.shape[1] == 1:
        answer = answer[:, 0]
    return {"prediction": answer}


def _refuse_mixed(frame: Any, columns: dict[str, Any]) -> None:
    """Refuse a word for all rows, and rows that say themselves that their order is another one."""
    given = getattr(frame, "index", None)  # Polars has none.
    for name, values in columns.items():
        if isinstance(values, str):
            raise Wrong(f"{name} is one text; expected an answer for each row.")
        index = getattr(values, "index", None) if hasattr(values, "to_numpy") else None
        if index is None or given is None or len(index) != len(given) or index.equals(given):
            continue
        if index.sort_values().equals(given.sort_values()):
            raise Wrong(f"{name} has its rows in another order than they went in.")


def _arrays(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: getattr(values, "to_numpy", lambda v=values: v)() for name, values in columns.items()
    }


def _read(library: Any, files: list[str]) -> Any:
    reader = library.read_parquet if files[0].endswith(".parquet") else library.read_csv
    parts = [reader(path) for path in files]
    return parts[0] if len(parts) == 1 else library.concat(parts)


def score(request: dict[str, Any]) -> None:
    """Predict each evaluation set with one model and write the predictions as Parquet."""
    predict = _predictor(request)
    for part in request["sets"]:
        _score_set(predict, part, request["id"])
    if request.get("golden"):
        _keep_golden(request["model"], predict, Path(request["golden"]))


def _score_set(
    predict: Callable[[Any], dict[str, Any]], part: dict[str, Any], identifier: str
) -> None:
    library, is_pandas = _frames()
    frame = _read(library, part["files"])
    # The ids as they were fixed before training: who reads CSV guesses, and makes 7 of 007.
    ids = frame if part["ids"] is None else library.read_parquet(part["ids"], columns=[identifier])
    if len(ids) != len(frame):
        raise Wrong(f"The set has {len(ids)} ids; the project reads {len(frame)} rows.")
    answer = predict(frame)
    _refuse_mixed(frame, answer)
    columns = _arrays(answer)
    lengths = {name: len(values) for name, values in columns.items()}
    if any(length != len(frame) for length in lengths.values()):
        raise Wrong(f"{len(frame)} rows went in; the model answered with {lengths}.")
    table = library.DataFrame({"id": ids[identifier].to_numpy(), **columns})
    target = Path(part["output"])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    if is_pandas:
        table.to_parquet(partial, index=False)
    else:
        table.write_parquet(partial)
    partial.replace(target)


def _keep_golden(folder: str, predict: Callable[[Any], dict[str, Any]], target: Path) -> None:
    """Write the model's input example, as a server gets it, with what the model says of it.

    An example is what its author chose to publish with the model: no other row of the data is kept.
    """
    path = Path(folder, "serving_input_example.json")
    if not path.is_file():
        return
    from mlflow.models import Model

    prefix = "probability_"
    try:
        split = json.loads(path.read_text(encoding="utf-8"))["dataframe_split"]
        rows = split["data"][:GOLDEN]
        example = Model.load(folder).load_input_example(folder)[: len(rows)]  # type: ignore[index]
        columns = _arrays(predict(example))
        document = {
            "records": [
                # MLflow writes NaN for what is missing; JSON, and so a request, has null.
                {
                    name: None if isinstance(value, float) and not math.isfinite(value) else value
                    for name, value in zip(split["columns"], row, strict=True)
                }
                for row in rows
            ],
            "predictions": columns["prediction"].tolist(),
            "probabilities": {
                name.removeprefix(prefix): values.tolist()
                for name, values in columns.items()
                if name.startswith(prefix)
            },
        }
        text = json.dumps(document, indent=2, allow_nan=False)
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - the user's code may raise anything.
        print(f"The model does not predict its example: {type(problem).__name__}: {problem}")
        return
    target.write_text(text, encoding="utf-8")


def behaviour_tests(request: dict[str, Any]) -> None:
    """Run the user's pytest file with the fixture ``predict``; write its results as JUnit XML."""
    try:
        import pytest
    except ImportError:
        raise Wrong("gate.behaviour.tests needs pytest among the project's packages.") from None
    library, _ = _frames()

    class Plugin:
        """What the tests get from us."""

        @pytest.fixture(scope="session")
        def predict(self) -> Callable[[Any], Any]:
            """Take a data frame, give the candidate's predictions in a data frame."""
            answer = _predictor(request)
            return lambda frame: library.DataFrame(_arrays(answer(frame)))

    sys.path.insert(0, str(Path.cwd()))
    words = ["-q", "-p", "no:cacheprovider", f"--junitxml={request['output']}", request["tests"]]
    code = int(pytest.main(words, plugins=[Plugin()]))
    if code not in {0, 1}:  # Else it could not run, or found no test.
        raise Wrong(f"pytest {request['tests']} ended with code {code}.")


def clock(request: dict[str, Any]) -> None:
    """Answer on standard input how long a prediction takes, so that another model takes turns.

    A line ``row N`` predicts row N, ``batch`` all rows; the answer is the nanoseconds. ``end`` is
    answered with a JSON object: seconds of loading, peak memory in bytes.
    """
    # What user code prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    library, _ = _frames()
    frame = _read(library, request["files"][:1])[: request["batch"]]
    started = time.perf_counter()
    answer = _predictor(request)
    load = time.perf_counter() - started
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "end":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            memory = peak if sys.platform == "darwin" else peak * 1024
            print(json.dumps({"load": load, "memory": memory}), file=answers, flush=True)
            return
        place = int(number) % len(frame) if word == "row" else 0
        rows = frame[place : place + 1] if word == "row" else frame
        begin = time.perf_counter_ns()
        answer(rows)
        print(time.perf_counter_ns() - begin, file=answers, flush=True)


def main() -> int:
    """Run one command."""
    command = sys.argv[1]
    try:
        if command == "export":
            _import_store()  # While training still goes on.
        line = sys.stdin.readline()
        if not line:  # Nobody asked.
            return 0
        request = json.loads(line)
        if command == "export":
            export(**request)
        elif command == "behaviour-tests":
            behaviour_tests(request)
        elif command == "clock":
            clock(request)
        else:
            score(request)
    except Wrong as problem:
        print(str(problem), file=sys.stderr)
        return WRONG
    except SystemExit as problem:  # Else our process would end as theirs: well, perhaps.
        traceback.print_exc()
        print(f"The project's code ended the process: sys.exit({problem.code!r}).", file=sys.stderr)
        return WRONG
    except Exception as problem:  # noqa: BLE001 - the user's code may raise anything.
        traceback.print_exc()
        print(f"{type(problem).__name__}: {problem}".splitlines()[0], file=sys.stderr)
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
