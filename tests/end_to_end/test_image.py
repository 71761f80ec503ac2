"""A blessed version becomes an image, with a real engine and a real registry on loopback."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import engine as machine
import pytest
from conftest import Consumer

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
"""
# A server that answers with the other class's probability.
WRONG = (
    "find /opt/serving -name '*.pyc' -delete && "
    "sed -i 's/matrix\\[:, index\\]/(1.0 - matrix[:, index])/' "
    "/opt/serving/mlops_actions/serving/model.py"
)
SETTINGS = """
build:
  base: {base}
"""


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
    settings(registered, SETTINGS.format(base=engine.base))
    return registered


def settings(consumer: Consumer, text: str) -> None:
    path = consumer.folder / "mlops.yaml"
    path.write_text(path.read_text() + text)
    consumer.commit("Settings")


def build(consumer: Consumer, registry: str, **inputs: str) -> LocalRun:
    asked = {"registry": registry, **inputs}
    return consumer.happens("workflow_dispatch", workflow="build.yml", inputs=asked)


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


def test_a_version_is_stopped_then_repaired_pushed_and_not_built_again(
    consumer: Consumer, registry: str
) -> None:
    run = build(consumer, registry)
    assert not run.green
    assert run.jobs["build/model"].result == "success"
    assert "CVE-2023-45853 in zlib1g" in errors(run)
    assert catalogue(registry) == []  # Nothing that was refused reaches the registry.
    assert "images/" not in run.git("ls-tree", "-r", "--name-only", "mlops-state")

    settings(consumer, "scan:\n  ignore_unfixed: true\n")
    run = build(consumer, registry)
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
    names = {item["name"] for item in record["predicate"]["previous"]}
    assert names == {"build.json", "scan.json", "gate.json", "publish.json"}
    proved = json.loads(run.git("show", "mlops-state:images/late-flights/1/build.json"))
    checks = {one["name"]: one for one in proved["predicate"]["checks"]}
    assert {one["status"] for one in checks.values()} == {"pass"}
    assert checks["parity"]["observed"] == 0
    assert manifest(f"{name}:{proved['predicate']['labels']['org.opencontainers.image.revision']}")
    kinds = [
        json.loads(path.read_text())["predicateType"]
        for path in sorted(run.folder.glob("attestations/*.json"))
    ]
    assert [kind.split("/")[2] for kind in kinds] == ["slsa.dev", "cyclonedx.org", "github.com"]

    again = build(consumer, registry)
    assert again.green
    assert again.outputs["build"]["verdict"] == "unchanged"
    assert again.outputs["build"]["digest"] == digest
    assert "Building the image" not in again.log
    assert again.git("rev-parse", "mlops-state") == run.git("rev-parse", "mlops-state")


def rewrite(consumer: Consumer, folder: Path, pattern: str, old: str, new: str) -> None:
    """Change a file on the branch mlops-state, as somebody who may write it could."""
    origin = consumer.folder / ".mlops-local" / "origin.git"
    git = ["git", "-c", "user.name=Eve", "-c", "user.email=e@v.e"]
    clone = [*git, "clone", "--quiet", "--branch", "mlops-state", str(origin), str(folder)]
    subprocess.run(clone, check=True)
    (path,) = folder.glob(pattern)
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    for words in (["commit", "--quiet", "--all", "--message", "Eve"], ["push", "--quiet"]):
        subprocess.run([*git, "-C", str(folder), *words], check=True)


@pytest.mark.parametrize(
    ("pattern", "old", "new", "message"),
    [
        ("registry/artifacts/**/mlops/gate.json", '"blessed"', '"rejected"', "was changed after"),
        ("registry/artifacts/**/mlops/train.json", '"passed"', '"Passed"', "was changed after"),
        ("registry/artifacts/**/MLmodel", "mlflow.sklearn", "mlflow.sklearm", "those that were"),
    ],
)
def test_what_was_tampered_with_is_not_built(
    consumer: Consumer, registry: str, tmp_path: Path, pattern: str, old: str, new: str,
    message: str,
) -> None:  # fmt: skip
    rewrite(consumer, tmp_path / "clone", pattern, old, new)
    run = build(consumer, registry)
    assert not run.green
    assert message in errors(run)
    assert "Building the image" not in run.log


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('ENTRYPOINT ["sleep", "1000"]', "smoke: The container did not get ready"),
        ("USER root", "it runs as root"),
        (
            f"USER root\nRUN {WRONG}\nUSER 65532",
            "parity: probability of 0, row 0",
        ),
    ],
)
def test_an_image_that_does_not_show_what_it_must_is_not_pushed(
    consumer: Consumer, registry: str, line: str, message: str
) -> None:
    before = catalogue(registry)
    text = (machine.ROOT / "scripts/mlops_actions/build/templates/Dockerfile.jinja").read_text()
    known = {"base": "python:3.11-slim", "settled": "0", "start_period": "5"}
    for name, value in known.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    text = "\n".join(text.splitlines()[1:]).replace(
        "{% for key, value in settings.items() %} \\\n    {{ key }}={{ value }}{% endfor %}", ""
    )
    (consumer.folder / "Dockerfile").write_text(f"{text}\n{line}\n")
    consumer.replace(
        "mlops.yaml", r"^build:$", "build:\n  dockerfile: Dockerfile\n  ready_within: 20s"
    )
    consumer.commit("A Dockerfile of our own")
    run = build(consumer, registry)
    assert not run.green
    assert message in errors(run)
    assert catalogue(registry) == before


def test_a_registry_that_is_down_leaves_nothing_recorded(consumer: Consumer) -> None:
    settings(consumer, "scan:\n  ignore_unfixed: true\n")
    run = build(consumer, f"localhost:{machine.free_port()}")
    assert not run.green
    assert "images/" not in run.git("ls-tree", "-r", "--name-only", "mlops-state")
