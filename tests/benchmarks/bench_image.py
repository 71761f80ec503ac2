"""The image of the template's model against what MLflow itself asks for, same base, same machine.

    python tests/benchmarks/bench_image.py

Makes the flights repository and trains its model as it is. The other side is the base image with
the requirements that MLflow infers for that very model, the whole of mlflow among them, installed
by pip as `mlflow models build-docker` does. Prints sizes and times, and ends with 1 when a promise
is broken: at most 60 % of the size; a build below 15 s when only the model changed; smoke, parity,
latency and the policy of the scan below 10 s. Needs root and Docker, as tests/end_to_end/engine.py
says.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import copier

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))

import engine as machine  # noqa: E402 - beside the end-to-end tests.

from mlops_actions import config, evidence, project, score, uv  # noqa: E402
from mlops_actions.build import context, golden, layout, proof  # noqa: E402
from mlops_actions.build import engine as docker  # noqa: E402
from mlops_actions.build.blessed import Blessed  # noqa: E402
from mlops_actions.build.requirements import Index  # noqa: E402

SIZE, BUILD, PROOF = 0.60, 15.0, 10.0
INFER = """\
import mlflow, sys
print(*mlflow.models.infer_pip_requirements(sys.argv[1], "sklearn"), sep="\\n")
"""
OTHER = """\
FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=ca,target=/run/ca.pem \\
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \\
    python3 -m venv /opt/venv && /opt/venv/bin/pip install --quiet -r /tmp/requirements.txt
COPY model /opt/model
"""
SCANNER = ROOT / "scripts/mlops_actions/local/doubles/aquasecurity/trivy-action/scan.py"
TAG = "mlops-build/bench:{}"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-image-") as name, machine.engine() as started:
        os.environ.update(started.variables)
        os.environ["MLOPS_CRANE"] = machine.crane()
        return bench(Path(name), started.base)


def generate(folder: Path) -> config.Project:
    copier.run_copy(str(ROOT), folder, defaults=True, vcs_ref="HEAD", quiet=True)
    return config.load(folder / "mlops.yaml")


def train(loaded: config.Project, environment: project.Environment, work: Path, seed: int) -> None:
    """Train as the template does; leave its model and golden rows in ``work``."""
    shutil.rmtree(loaded.folder / "mlruns", ignore_errors=True)
    (loaded.folder / "mlflow.db").unlink(missing_ok=True)
    words = [str(environment.python), "-m", "model.train"]
    variables = os.environ | {"MLOPS_SEED": str(seed)}
    variables.pop("MLFLOW_TRACKING_URI", None)
    subprocess.run(words, cwd=loaded.folder, env=variables, check=True, stdout=sys.stderr)
    (logged,) = loaded.folder.glob("mlruns/**/MLmodel")
    shutil.rmtree(work / "model", ignore_errors=True)
    shutil.copytree(logged.parent, work / "model")
    kept = work / "evidence"
    kept.mkdir(exist_ok=True)
    part = {"files": [{"path": "data/development.parquet"}]}
    outputs = {work / "p.parquet": part}
    score.predict(loaded, environment, work / "model", outputs, golden=kept / score.GOLDEN)
    subjects = [evidence.subject(score.GOLDEN, evidence.sha256_file(kept / score.GOLDEN))]
    scored = evidence.statement("score", "passed", [], subjects=subjects)
    evidence.write_json(kept / "score.json", scored)


def of_mlflow(work: Path) -> list[str]:
    """What MLflow, whole as `build-docker` installs it, says that the model needs."""
    own = (work / "model/requirements.txt").read_text().splitlines()
    lines = [line.replace("mlflow-skinny", "mlflow") for line in own]
    name = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    folder = project.cache_folder() / f"bench-image-{name}"
    python = str(folder / "bin/python")
    if not (folder / "complete").exists():
        for words in (
            ["venv", "--quiet", "--clear", "--python", "3.11", str(folder)],
            ["pip", "install", "--quiet", "--python", python, *lines],
        ):
            subprocess.run([str(uv.path()), *words], check=True, cwd="/")
        (folder / "complete").touch()
    # Elsewhere than here: beside a uv.lock MLflow takes all of that instead.
    answer = subprocess.run(
        [python, "-c", INFER, str(work / "model")], check=True, capture_output=True, text=True,
        cwd=work,
    )  # fmt: skip
    # It puts itself in front of what it infers when it logs a model.
    return [*(line for line in lines if line.startswith("mlflow==")), *answer.stdout.splitlines()]


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


def policy(work: Path, loaded: config.Project) -> float:
    """Seconds that the scan's policy takes, on a report of the image by the double of Trivy."""
    report, output = work / "trivy.json", work / "scan.json"
    asked = {"INPUT": str(work / "layout"), "FORMAT": "json", "SCANNERS": "vuln,secret",
             "OUTPUT": str(report), "SCAN_TYPE": "image"}  # fmt: skip
    subprocess.run(
        [sys.executable, str(SCANNER)], env=os.environ | asked, check=True, cwd=work,
        stdout=sys.stderr,
    )  # fmt: skip
    began = time.perf_counter()
    words = ["scan", "--config", str(loaded.file), "--report", str(report),
             "--layout", str(work / "layout"), "--output", str(output)]  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-m", "mlops_actions", *words], check=False, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    assert answer.returncode in {0, 1}
    assert output.is_file()
    return seconds


def bench(work: Path, base: str) -> int:
    loaded = generate(work / "repository")
    environment = project.prepare(loaded)
    words = [str(environment.python), "-m", "model.prepare"]
    subprocess.run(words, cwd=loaded.folder, check=True, stdout=sys.stderr)
    certificate = os.environ.get("SSL_CERT_FILE")
    index = Index(certificate=Path(certificate) if certificate else None)

    def build(number: int) -> float:
        began = time.perf_counter()
        made = context.write(loaded, version(number, work), work, base=base, index=index)
        docker.build(made, TAG.format(number), index)
        return time.perf_counter() - began

    train(loaded, environment, work, 1)
    cold = build(1)
    train(loaded, environment, work, 2)
    warm = build(2)

    other = work / "other"
    other.mkdir()
    (other / "Dockerfile").write_text(OTHER.format(base=base))
    shutil.copytree(work / "model", other / "model")
    (other / "requirements.txt").write_text("\n".join(of_mlflow(work)))
    secret = [f"--secret=id=ca,src={certificate}"] if certificate else []
    docker.docker(
        "buildx", "build", "--network", "host", *secret, "--tag", "bench-other", str(other)
    )

    rows = golden.find(work / "evidence")
    assert rows is not None
    began = time.perf_counter()
    checks = proof._prove(loaded, version(2, work), TAG.format(2), rows)
    shown = time.perf_counter() - began
    assert {one["status"] for one in checks} == {"pass"}, checks
    began = time.perf_counter()
    layout.write(TAG.format(2), work / "layout")
    written = time.perf_counter() - began
    judged = policy(work, loaded)

    ours, theirs = size(TAG.format(2)), size("bench-other")
    whole = (other / "requirements.txt").read_text().replace("\n", " ")
    table = [
        ("image", f"{ours / 1e6:.0f} MB", f"{theirs / 1e6:.0f} MB with {whole}",
         ours / theirs, SIZE),
        ("build, only the model changed", f"{warm:.1f} s", f"{cold:.1f} s from whatever was cached",
         warm, BUILD),
        ("smoke, parity, latency, policy", f"{shown + judged:.1f} s",
         f"{judged:.1f} s of it the policy; {written:.1f} s more writes the OCI layout",
         shown + judged, PROOF),
    ]  # fmt: skip
    print(f"{'':32}{'ours':>10}  {'measured':>9} {'promised':>9}  beside it")
    for what, one, other_, value, limit in table:
        print(f"{what:32}{one:>10}  {value:9.2f} {limit:9.2f}  {other_}")
    for one in checks:
        print(f"{one['name']}: {one['observed']}")
    return 0 if all(value <= limit for _, _, _, value, limit in table) else 1


if __name__ == "__main__":
    sys.exit(main())
