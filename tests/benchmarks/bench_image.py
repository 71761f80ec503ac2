"""The image against what MLflow's own requirements give, same model, same base, same machine.

    python tests/benchmarks/bench_image.py

One scikit-learn model with the requirements that MLflow infers for it. The other side is the base
image with these requirements, the whole of mlflow among them, installed by pip as `mlflow models
build-docker` does. Prints sizes and times, and ends with 1 when a promise is broken: at most 60 %
of the size; a build below 15 s when only the model changed; smoke, parity and latency below 10 s.
Needs root and Docker, as tests/end_to_end/engine.py says.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))

import engine as machine  # noqa: E402 - beside the end-to-end tests.

from mlops_actions import config, evidence, project, uv  # noqa: E402
from mlops_actions.build import container, context, golden  # noqa: E402
from mlops_actions.build import engine as docker  # noqa: E402
from mlops_actions.build.blessed import Blessed  # noqa: E402
from mlops_actions.build.requirements import Index  # noqa: E402

VERSION = "3.17.2"
PACKAGES = [f"mlflow=={VERSION}", "scikit-learn", "skops"]
SIZE, BUILD, PROOF = 0.60, 15.0, 10.0
TRAIN = """\
import sys, json, warnings
warnings.filterwarnings("ignore")
import mlflow, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(int(sys.argv[2]))
frame = pd.DataFrame(rng.normal(size=(500, 6)), columns=list("abcdef"))
model = LogisticRegression().fit(frame, frame["a"] + rng.normal(size=500) > 0)
mlflow.sklearn.save_model(model, sys.argv[1], input_example=frame[:20],
    signature=mlflow.models.infer_signature(frame, model.predict(frame)))
json.dump({"predictions": model.predict(frame[:20]).tolist(),
           "records": frame[:20].to_dict(orient="records"),
           "probabilities": {str(label): model.predict_proba(frame[:20])[:, i].tolist()
                             for i, label in enumerate(model.classes_)}},
          open(sys.argv[1] + ".json", "w"))
"""
OTHER = """\
FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=ca,target=/run/ca.pem \\
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \\
    python3 -m venv /opt/venv && /opt/venv/bin/pip install --quiet -r /tmp/requirements.txt
COPY model /opt/model
"""
CONFIG = """\
name: bench
task: classification
target: late
labels: [false, true]
id: id
data: {training: a.parquet, evaluation: b.parquet}
gate: {metrics: {accuracy: {threshold: 0.5}}}
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-image-") as name, machine.engine() as started:
        os.environ.update(started.variables)
        os.environ["MLOPS_CRANE"] = machine.crane()
        return bench(Path(name), started.base)


def train(python: Path, work: Path, seed: int) -> dict:
    subprocess.run(["rm", "-rf", str(work / "model")], check=True)
    words = [str(python), "-c", TRAIN, str(work / "model"), str(seed)]
    subprocess.run(words, check=True, cwd=work)
    return json.loads((work / "model.json").read_text())


def environment() -> Path:
    """An environment to train in, kept between runs."""
    folder = project.cache_folder() / "bench-image"
    if not (folder / "complete").exists():
        program = str(uv.path())
        subprocess.run(
            [program, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)],
            check=True,
            cwd="/",
        )
        python = str(folder / "bin/python")
        subprocess.run(
            [program, "pip", "install", "--quiet", "--python", python, *PACKAGES],
            check=True,
            cwd="/",
        )
        (folder / "complete").touch()
    return folder / "bin/python"


def version(number: int, work: Path) -> Blessed:
    return Blessed(
        name="bench", version=str(number), run_id="r", commit="c" * 40, evidence_digest="0" * 64,
        model_digest=evidence.sha256_tree(work / "model"),
        created=datetime.datetime.now(datetime.UTC).isoformat(),
    )  # fmt: skip


def size(tag: str) -> int:
    found = docker.inspect(tag)
    assert found
    return found["Size"]


def bench(work: Path, base: str) -> int:
    (work / "mlops.yaml").write_text(CONFIG)
    loaded = config.load(work / "mlops.yaml")
    certificate = os.environ.get("SSL_CERT_FILE")
    index = Index(certificate=Path(certificate) if certificate else None)
    python = environment()

    def build(number: int) -> float:
        began = time.perf_counter()
        made = context.write(loaded, version(number, work), work, base=base, index=index)
        docker.build(made, f"bench-ours:{number}", index)
        return time.perf_counter() - began

    train(python, work, 1)
    cold = build(1)
    answers = train(python, work, 2)
    warm = build(2)

    other = work / "other"
    other.mkdir()
    (other / "Dockerfile").write_text(OTHER.format(base=base))
    subprocess.run(["cp", "-r", str(work / "model"), str(other)], check=True)
    subprocess.run(["cp", str(work / "model/requirements.txt"), str(other)], check=True)
    secret = [f"--secret=id=ca,src={certificate}"] if certificate else []
    docker.docker(
        "buildx", "build", "--network", "host", *secret, "--tag", "bench-other", str(other)
    )

    rows = golden.Golden(**answers, source="bench")
    began = time.perf_counter()
    seen = container.visit("bench-ours:2", rows.requests(), ready_within=60, requests=100)
    found = golden.compare(rows, seen.found["answers"][0][1], config.Parity())
    proof = time.perf_counter() - began
    assert found.problem is None, found.problem
    milliseconds = sorted(seen.found["milliseconds"])

    ours, theirs = size("bench-ours:2"), size("bench-other")
    rows_ = [
        ("image", f"{ours / 1e6:.0f} MB", f"{theirs / 1e6:.0f} MB with mlflow {VERSION}",
         ours / theirs, SIZE),
        ("build, only the model changed", f"{warm:.1f} s", f"{cold:.1f} s from whatever was cached",
         warm, BUILD),
        ("smoke, parity, latency", f"{proof:.1f} s", f"ready after {seen.seconds:.1f} s",
         proof, PROOF),
    ]  # fmt: skip
    print(f"{'':32}{'ours':>10}  {'measured':>9} {'promised':>9}  beside it")
    for what, one, other_, value, limit in rows_:
        print(f"{what:32}{one:>10}  {value:9.2f} {limit:9.2f}  {other_}")
    print(f"one row: median {milliseconds[50]:.1f} ms, 95th percentile {milliseconds[94]:.1f} ms")
    return 0 if all(value <= limit for _, _, _, value, limit in rows_) else 1


if __name__ == "__main__":
    sys.exit(main())
