"""A blessed version becomes an image, with a real engine and a real registry on loopback."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import engine as machine
import jinja2
import pytest
from conftest import Consumer

from mlops_actions import evidence
from mlops_actions.local import LocalRun

pytestmark = pytest.mark.slow

CALLER = """\
name: Build
on:
  workflow_dispatch:
    inputs:
      registry:
        type: string
      rebuild:
        type: boolean
        default: false
permissions: {}
jobs:
  build:
    uses: mlops-actions/mlops-actions/.github/workflows/build.yml@main
    permissions:
      contents: write
      packages: write
      id-token: write
      attestations: write
      security-events: write
    with:
      registry: ${{ inputs.registry }}
      rebuild: ${{ inputs.rebuild }}
    secrets:
      REGISTRY_PASSWORD: ${{ secrets.REGISTRY_PASSWORD }}
"""
# The registry on loopback asks for none; the workflow does, of every registry but GHCR.
PASSWORD = {"REGISTRY_PASSWORD": "none-is-asked"}
TEMPLATE = machine.ROOT / "scripts/mlops_actions/build/templates/Dockerfile.jinja"
NO_FIX = """
scan:
  ignore_unfixed: true
"""
WAIVER = """
scan:
  waivers:
    - id: CVE-2023-45853
      reason: Debian does not build the part that has the flaw.
      owner: "@example/platform"
      {key}: {day}
"""
# A server that answers with the other class's probability.
WRONG = (
    "find /opt/serving -name '*.pyc' -delete && "
    "sed -i 's/matrix\\[:, index\\]/(1.0 - matrix[:, index])/' "
    "/opt/serving/mlops_actions/serving/model.py"
)
INSTALL = (
    "--mount=type=bind,source=uv,target=/usr/local/bin/uv "
    "--mount=type=secret,id=ca,target=/run/ca.pem "
    "if [ -s /run/ca.pem ]; then export SSL_CERT_FILE=/run/ca.pem; fi; "
    "uv pip install --quiet --no-cache --no-deps --python /opt/venv/bin/python "
)
KEY = "AKIA" + "Q" * 16  # Made here, so that no scanner takes this file for a leak.


@pytest.fixture(scope="session")
def engine() -> Iterator[machine.Engine]:
    try:
        with machine.engine() as started:
            yield started
    except machine.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with machine.registry(tmp_path_factory.mktemp("registry") / "images") as host:
        yield host


@pytest.fixture
def consumer(
    registered: Consumer, engine: machine.Engine, monkeypatch: pytest.MonkeyPatch
) -> Consumer:
    """The registered repository, with a caller of build.yml."""
    for name, value in engine.variables.items():
        monkeypatch.setenv(name, value)
    (registered.folder / ".github/workflows/build.yml").write_text(CALLER)
    settings(registered, f"\nbuild:\n  base: {engine.base}\n  ready_within: 20s\n")
    return registered


def settings(consumer: Consumer, text: str) -> None:
    path = consumer.folder / "mlops.yaml"
    path.write_text(path.read_text() + text)
    consumer.commit("Settings")


def dockerfile(consumer: Consumer, base: str, *lines: str) -> None:
    """Give the consumer a Dockerfile of its own: ours, with more lines."""
    known = {"tool": "0", "name": "x", "version": "1", "settled": 0, "start_period": 5}
    text = jinja2.Template(TEMPLATE.read_text()).render(base=base, settings={}, **known)
    (consumer.folder / "Dockerfile").write_text("\n".join([text, *lines, ""]))
    if "dockerfile" not in (consumer.folder / "mlops.yaml").read_text():
        consumer.replace("mlops.yaml", r"^build:$", "build:\n  dockerfile: Dockerfile")
    consumer.commit("A Dockerfile of our own")


def build(consumer: Consumer, registry: str, **options: object) -> LocalRun:
    inputs = {"registry": registry}
    return consumer.happens(
        "workflow_dispatch", workflow="build.yml", inputs=inputs, secrets=PASSWORD, **options
    )


def refused(run: LocalRun, reason: str) -> None:
    """Red, with the reason among the errors of the verdict; nothing recorded."""
    assert not run.green
    assert run.jobs["build/verdict"].result == "failure"
    assert run.outputs["build"]["verdict"] == "failed"
    assert reason in errors(run), run.log[-5000:]
    assert "images/" not in run.git("ls-tree", "-r", "--name-only", "mlops-state")


def errors(run: LocalRun) -> str:
    return "\n".join(item.message for item in run.annotations if item.level == "error")


def catalogue(registry: str) -> list[str]:
    with urllib.request.urlopen(f"http://{registry}/v2/_catalog", timeout=10) as answer:
        return json.load(answer)["repositories"] or []


def manifest(reference: str) -> str:
    answer = subprocess.run(
        [machine.crane(), "digest", reference], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def test_a_vulnerable_image_is_stopped_and_the_repaired_one_pushed_and_not_built_again(
    consumer: Consumer, engine: machine.Engine, tmp_path: Path
) -> None:
    settings(consumer, NO_FIX)
    with machine.registry(tmp_path / "images") as registry:
        dockerfile(consumer, engine.base, "USER root", f"RUN {INSTALL} jinja2==2.10", "USER 65532")
        run = build(consumer, registry)
        refused(run, "CVE-2019-10906 in Jinja2")
        assert run.jobs["build/model"].result == "success"
        assert catalogue(registry) == []  # Nothing that was refused reaches the registry.

        # The same image, repaired.
        dockerfile(consumer, engine.base, "USER root", f"RUN {INSTALL} jinja2==3.1.6", "USER 65532")
        run = build(consumer, registry)
        pushed(run)

        again = build(consumer, registry)
        assert again.green
        assert again.outputs["build"]["verdict"] == "unchanged"
        assert again.outputs["build"]["digest"] == run.outputs["build"]["digest"]
        assert "Building the image" not in again.log
        assert again.git("rev-parse", "mlops-state") == run.git("rev-parse", "mlops-state")


def pushed(run: LocalRun) -> None:
    """Green; what is recorded and attested is what the registry has."""
    assert run.green, run.log[-5000:]
    outputs = run.outputs["build"]
    assert outputs["verdict"] == "passed"
    assert outputs["version"] == "1"
    digest = outputs["digest"]
    assert outputs["reference"].endswith(f"/late-flights@{digest}")
    name = outputs["reference"].partition("@")[0]
    assert manifest(f"{name}:v1") == digest
    record = json.loads(run.git("show", "mlops-state:images/late-flights/1.json"))
    assert record["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    assert record["predicate"]["attested"] is True
    proved, named = (
        json.loads(run.git("show", f"mlops-state:images/late-flights/1/{stage}.json"))
        for stage in ("build", "push")
    )
    names = {item["name"] for item in named["predicate"]["previous"]}
    assert names == {"build.json", "scan.json", "gate.json", "publish.json"}
    checks = {one["name"]: one for one in proved["predicate"]["checks"]}
    assert {one["status"] for one in checks.values()} == {"pass"}
    assert checks["parity"]["observed"] == 0
    assert checks["parity"]["rows"] == 50
    assert manifest(f"{name}:{proved['predicate']['labels']['org.opencontainers.image.revision']}")
    attested = [
        json.loads(path.read_text()) for path in sorted(run.folder.glob("attestations/*.json"))
    ]
    kinds = [one["predicateType"].split("/")[2] for one in attested]
    assert kinds == ["slsa.dev", "cyclonedx.org", "github.com"]
    assert attested[-1]["predicate"] == named["predicate"]


# What is refused before anything is built: the version itself.


def on_state(consumer: Consumer, folder: Path, change: Callable[[Path], None]) -> None:
    """Change files on the branch mlops-state, as somebody who may write it could."""
    origin = consumer.folder / ".mlops-local" / "origin.git"
    git = ["git", "-c", "user.name=Eve", "-c", "user.email=e@v.e"]
    clone = [*git, "clone", "--quiet", "--branch", "mlops-state", str(origin), str(folder)]
    subprocess.run(clone, check=True)
    change(folder / "registry")
    for words in (["add", "--all"], ["commit", "--quiet", "-m", "Eve"], ["push", "--quiet"]):
        subprocess.run([*git, "-C", str(folder), *words], check=True)


def rewritten(pattern: str, old: str, new: str) -> Callable[[Path], None]:
    def change(registry: Path) -> None:
        (path,) = registry.glob(pattern)
        content = path.read_bytes()
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode()))

    return change


@pytest.mark.parametrize(
    ("pattern", "old", "new", "reason"),
    [
        ("artifacts/**/mlops/gate.json", '"blessed"', '"rejected"', "was changed after"),
        ("artifacts/**/mlops/golden.json", '"predictions"', '"Predictions"', "not the golden rows"),
        ("artifacts/**/MLmodel", "mlflow.sklearn", "mlflow.sklearm", "those that were judged"),
    ],
)
def test_evidence_that_was_tampered_with_builds_nothing(
    consumer: Consumer, registry: str, tmp_path: Path, pattern: str, old: str, new: str, reason: str
) -> None:
    on_state(consumer, tmp_path / "clone", rewritten(pattern, old, new))
    run = build(consumer, registry)
    refused(run, reason)
    assert "Building the image" not in run.log


def forged(registry: Path, *, verdict: str = "blessed", file: bytes = b"") -> None:
    """Write a chain of evidence anew that is whole in itself; only attestations tell it apart."""
    (kept,) = (path.parent for path in registry.glob("artifacts/**/mlops/gate.json"))
    (model,) = (path.parent for path in registry.glob("artifacts/**/MLmodel"))
    if file:
        (model / "weights.dat").write_bytes(file)
    digest = evidence.sha256_tree(model)
    documents = {
        stage: json.loads((kept / f"{stage}.json").read_text())
        for stage in ("train", "gate", "publish")
    }
    for item in documents["train"]["subject"]:
        if item["name"] == "model":
            item["digest"]["sha256"] = digest
    documents["gate"]["predicate"]["verdict"] = verdict
    for document in documents.values():
        for item in document["predicate"]["previous"]:
            item["digest"]["sha256"] = evidence.sha256_file(kept / item["name"])
        stage = document["predicate"]["stage"]
        evidence.write_json(kept / f"{stage}.json", document)
    tags = {"gate_digest": evidence.sha256_file(kept / "gate.json"), "model_digest": digest}
    with contextlib.closing(sqlite3.connect(registry / "mlflow.db")) as database, database:
        for key, value in tags.items():
            database.execute(
                "UPDATE model_version_tags SET value = ? WHERE key = ?", (value, f"mlops.{key}")
            )


def test_a_version_that_is_not_blessed_is_not_built(
    consumer: Consumer, registry: str, tmp_path: Path
) -> None:
    on_state(consumer, tmp_path / "clone", lambda folder: forged(folder, verdict="rejected"))
    run = build(consumer, registry)
    refused(run, "late-flights version 1 is not blessed: its verdict is rejected")
    assert "is not blessed" in "\n".join(
        text for step, text in run.summaries.items() if "verdict" in step
    )
    assert "Building the image" not in run.log


def test_an_evil_pickle_is_not_built(consumer: Consumer, registry: str, tmp_path: Path) -> None:
    evil = b"cos\nsystem\n(S'true'\ntR."
    on_state(consumer, tmp_path / "clone", lambda folder: forged(folder, file=evil))
    run = build(consumer, registry)
    refused(run, "model files: weights.dat imports os.system")
    assert "Building the image" not in run.log


# What is refused when it was built.


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['ENTRYPOINT ["sleep", "1000"]'], "smoke: The container did not get ready"),
        (["USER root", f"RUN {WRONG}", "USER 65532"], "parity: probability of 0, row 0"),
    ],
    ids=["never-ready", "parity"],
)
def test_an_image_that_does_not_show_what_it_must_is_not_pushed(
    consumer: Consumer, engine: machine.Engine, registry: str, lines: list[str], reason: str
) -> None:
    dockerfile(consumer, engine.base, *lines)
    run = build(consumer, registry)
    refused(run, reason)
    assert run.jobs["build/model"].result == "failure"
    assert catalogue(registry) == []


@pytest.mark.parametrize(
    ("waiver", "reason"),
    [
        ({"key": "expires", "day": "2026-01-31"}, "The waiver of CVE-2023-45853 expired on"),
        ({"key": "expire", "day": "2027-01-31"}, "expire"),
    ],
    ids=["expired", "misspelt"],
)
def test_a_waiver_that_does_not_hold_is_none(
    consumer: Consumer, registry: str, waiver: dict[str, str], reason: str
) -> None:
    settings(consumer, WAIVER.format(**waiver))
    refused(build(consumer, registry), reason)
    assert catalogue(registry) == []


def test_a_secret_in_the_image_is_not_pushed(
    consumer: Consumer, engine: machine.Engine, registry: str
) -> None:
    settings(consumer, NO_FIX)
    dockerfile(
        consumer, engine.base, "USER root", f"RUN echo key={KEY} > /opt/settings", "USER 65532"
    )
    run = build(consumer, registry)
    refused(run, "aws-access-key-id in /opt/settings")
    assert KEY not in run.log.replace(f"key={KEY} >", "")  # As the Dockerfile itself says it.
    assert catalogue(registry) == []


# What goes wrong while it is pushed.


@contextlib.contextmanager
def breaking(registry: str, allowed: int) -> Iterator[str]:
    """A way to the registry that breaks for good after ``allowed`` bytes were sent to it."""
    host, _, port = registry.partition(":")
    sent = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket, *, counted: bool) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while (part := source.recv(65536)) and sent <= allowed:
                sent += len(part) if counted else 0
                target.sendall(part)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while sent <= allowed:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                for source, target, counted in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=copy, args=(source, target), kwargs={"counted": counted}, daemon=True
                    ).start()
        listener.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"localhost:{listener.getsockname()[1]}"
    finally:
        listener.close()


def test_a_registry_that_goes_down_in_mid_push_leaves_nothing_recorded(
    consumer: Consumer, registry: str
) -> None:
    settings(consumer, NO_FIX)
    with breaking(registry, 5_000_000) as host:
        run = build(consumer, host)
    refused(run, "The registry did not take the image")


def test_a_manifest_that_is_not_the_scanned_one_is_not_recorded(
    consumer: Consumer, registry: str, tmp_path: Path
) -> None:
    """Somebody else, who may push too, is faster."""
    settings(consumer, NO_FIX)
    crane = shlex.quote(machine.crane())
    program = tmp_path / "crane"
    program.write_text(
        f'#!/bin/sh\n{crane} "$@" || exit\n'
        f'[ "$1" != push ] || {crane} mutate "$3" --label by=eve --tag "$3"\n'
    )
    program.chmod(0o755)
    run = build(consumer, registry, environment={"MLOPS_CRANE": str(program)})
    refused(run, "was scanned: do not use it")
