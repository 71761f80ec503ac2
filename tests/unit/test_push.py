"""Nothing is pushed that was not proved and scanned, nothing recorded that was not served."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import textwrap
from pathlib import Path

import pytest

from mlops_actions import github, push
from mlops_actions.build import attested
from mlops_actions.build.blessed import Blessed
from mlops_actions.build.context import LABELS
from mlops_actions.build.layout import Layout
from mlops_actions.errors import ConfigurationError, Failure

BLESSED = Blessed(
    name="m", version="3", run_id="r", model_digest="a" * 64, evidence_digest="b" * 64,
    commit="c" * 40, created="2026-11-01T00:00:00+00:00",
)  # fmt: skip
MANIFEST, CONFIG = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
FOUND = Layout(
    folder=Path("layout"),
    manifest=MANIFEST,
    config=CONFIG,
    labels={
        f"{LABELS}.model.name": "m",
        f"{LABELS}.model.version": "3",
        f"{LABELS}.model.digest": f"sha256:{'a' * 64}",
        f"{LABELS}.evidence": f"sha256:{'b' * 64}",
    },
    settings={},
    bytes=1,
)
BUILT = {"verdict": "passed", "checks": [], "model": "m", "image": {"manifest": MANIFEST}}
SCANNED = {"verdict": "passed", "checks": [], "model": "m", "image": MANIFEST}


def test_what_belongs_together_agrees():
    push.agree(BLESSED, BUILT, SCANNED, FOUND)
    push.agree(BLESSED, BUILT, {**SCANNED, "image": CONFIG}, FOUND)


@pytest.mark.parametrize(
    ("built", "scanned", "message"),
    [
        ({"verdict": "failed"}, {}, "The build failed"),
        ({"verdict": "inconclusive"}, {}, "The build inconclusive"),
        ({"model": "other"}, {}, "another model"),
        ({"image": None}, {}, "was proved"),
        ({"image": {"manifest": CONFIG}}, {}, "was proved"),
        ({}, {"verdict": "failed"}, "The scan failed"),
        ({}, {"model": "other"}, "another model"),
        ({}, {"image": f"sha256:{'3' * 64}"}, "was scanned"),
        ({}, {"image": None}, "was scanned"),
    ],
)
def test_anything_that_does_not_agree_stops_the_push(built, scanned, message):
    with pytest.raises(Failure, match=message):
        push.agree(BLESSED, BUILT | built, SCANNED | scanned, FOUND)


def test_the_reason_of_a_failure_is_repeated():
    checks = [{"name": "parity", "status": "fail", "observed": 1, "message": "row 3 differs"}]
    with pytest.raises(Failure, match="parity: row 3 differs"):
        push.agree(BLESSED, {**BUILT, "verdict": "failed", "checks": checks}, SCANNED, FOUND)


@pytest.mark.parametrize("label", FOUND.labels)
def test_an_image_of_another_version_is_refused(label):
    other = dataclasses.replace(FOUND, labels={**FOUND.labels, label: "other"})
    with pytest.raises(Failure, match="another version"):
        push.agree(BLESSED, BUILT, SCANNED, other)


# The registry, as crane shows it.


@pytest.fixture
def crane(tmp_path, monkeypatch):
    """A crane that answers what a file says, and keeps what it was asked."""
    program = tmp_path / "crane"
    program.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            echo "$*" >> {tmp_path}/asked
            [ ! -f {tmp_path}/$1.fails ] || {{ echo "$1 refused" >&2; exit 1; }}
            cat {tmp_path}/$1 2>/dev/null || true
            """
        )
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MLOPS_CRANE", str(program))
    return tmp_path


def serve(crane: Path, manifest: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    (crane / "manifest").write_bytes(manifest)
    (crane / "digest").write_text(digest)
    return digest


def test_a_registry_that_serves_what_was_scanned(crane):
    digest = serve(crane, b'{"layers": []}')
    found = dataclasses.replace(FOUND, manifest=digest)
    push.served("localhost:1/m", ["v3", "c" * 40], found)
    asked = (crane / "asked").read_text().splitlines()
    assert "push layout localhost:1/m:v3" in asked
    assert asked[-1] == f"tag localhost:1/m@{digest} {'c' * 40}"


def test_a_registry_that_serves_another_manifest(crane):
    digest = serve(crane, b"{}")
    (crane / "manifest").write_bytes(b'{"other": true}')
    with pytest.raises(Failure, match="do not use it"):
        push.prove("localhost:1/m:v3", digest)


def test_a_registry_that_says_another_digest(crane):
    digest = serve(crane, b"{}")
    (crane / "digest").write_text(MANIFEST)
    with pytest.raises(Failure, match="do not use it"):
        push.prove("localhost:1/m:v3", digest)


def test_a_registry_that_is_down(crane):
    serve(crane, b"{}")
    (crane / "push.fails").touch()
    with pytest.raises(Failure, match=r"did not take the image.*Nothing is recorded"):
        push.served("localhost:1/m", ["v3"], FOUND)
    assert "manifest" not in (crane / "asked").read_text()


# Where it goes.


@pytest.fixture
def event(tmp_path, monkeypatch):
    def happen(payload: dict, **variables: str) -> None:
        path = tmp_path / "event.json"
        path.write_text(json.dumps(payload))
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        github.event.cache_clear()

    yield happen
    github.event.cache_clear()


def test_the_place_is_lower_case_and_named_after_repository_and_model(event):
    event({}, GITHUB_REPOSITORY="Acme/Late_Flights")
    assert (
        push.place_of("ghcr.io", "auto", "late-flights") == "ghcr.io/acme/late_flights/late-flights"
    )
    assert push.place_of("localhost:5000", "a/b", "m") == "localhost:5000/a/b"


@pytest.mark.parametrize(
    ("registry", "image"),
    [
        ("https://ghcr.io", "a"), ("ghcr.io/a", "a"), ("", "a"), ("ghcr.io", ""),
        ("ghcr.io", "A"), ("ghcr.io", "a:b"), ("ghcr.io", "a@b"), ("ghcr.io", "/a"),
        ("ghcr.io", "a//b"), ("ghcr.io", "-a"),
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(event, registry, image):
    event({}, GITHUB_REPOSITORY="acme/x")
    with pytest.raises(ConfigurationError):
        push.place_of(registry, image, "m")


def test_auto_is_what_every_public_repository_has(event):
    event({"repository": {"private": False}})
    assert github.plan_has("attest", "auto")
    event({"repository": {"private": True}})
    assert not github.plan_has("attest", "auto")
    assert github.plan_has("attest", "true")
    event({})
    assert not github.plan_has("attest", "auto")
    with pytest.raises(ConfigurationError):
        github.plan_has("attest", "yes")


# Who signed the verdict.


@pytest.fixture
def gh(tmp_path, monkeypatch, event):
    """A gh that answers with a code, and keeps what it was asked."""
    event({}, GITHUB_REPOSITORY="acme/x", GITHUB_REF="refs/heads/main")

    def answers(code: int) -> None:
        program = tmp_path / "gh"
        program.write_text(
            f'#!/bin/sh\necho "$*" > {tmp_path}/asked\necho no signature >&2\nexit {code}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return answers


def test_a_verdict_must_be_signed_by_our_workflow_on_this_branch(gh, tmp_path):
    gh(0)
    assert attested.verify(Path("gate.json"))["status"] == "pass"
    assert (tmp_path / "asked").read_text().split() == [
        *("attestation", "verify", "gate.json", "--repo", "acme/x", "--signer-workflow"),
        "mlops-actions/mlops-actions/.github/workflows/train.yml",
        *("--source-ref", "refs/heads/main"),
    ]


def test_a_verdict_without_a_signature_is_refused(gh):
    gh(1)
    with pytest.raises(Failure, match=r"not signed by .*: no signature Nothing is pushed"):
        attested.verify(Path("gate.json"))


@pytest.mark.usefixtures("gh")
def test_without_gh_nothing_can_be_verified(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="gh is not installed"):
        attested.verify(Path("gate.json"))


def test_a_fork_of_ours_signs_for_itself(monkeypatch, tmp_path):
    unpacked = tmp_path / "acme" / "actions" / ("a" * 40) / "scripts" / "mlops_actions" / "build"
    monkeypatch.setattr(attested, "__file__", str(unpacked / "attested.py"))
    assert attested.signer() == "acme/actions/.github/workflows/train.yml"
