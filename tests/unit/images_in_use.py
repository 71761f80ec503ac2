"""A repository whose branch records images, and a registry that serves them as crane does."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import evidence, github
from mlops_actions.build import blessed as versions
from mlops_actions.build.context import LABELS
from mlops_actions.state import Branch, Checkout

MODEL = "tiny"
HOST = "localhost:5000/octo/model/tiny"
CONFIG = f"""\
name: {MODEL}
task: regression
target: y
id: id
data: {{training: a.csv, evaluation: b.csv}}
gate: {{metrics: {{r2: {{threshold: 0.1}}}}}}
"""


def layout(folder: Path, version: str, model: str = MODEL) -> tuple[str, str]:
    """Write an OCI layout of one image without layers; give its manifest's and its ID's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(document: object) -> dict[str, Any]:
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    layer = keep("not looked into")
    labels = {f"{LABELS}.model.name": model, f"{LABELS}.model.version": version}
    config = keep({"config": {"Labels": labels}, "rootfs": {"diff_ids": []}})
    manifest = keep({"schemaVersion": 2, "config": config, "layers": [layer]})
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return manifest["digest"], config["digest"]


class Registry:
    """As much of the registry as is asked."""

    def __init__(self) -> None:
        self.known = {"challenger": "1"}

    def aliases(self, name: str) -> dict[str, str]:
        return self.known if name == MODEL else {}


class Repository:
    """A checkout with an origin, and images by version."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "checkout"
        self.images = folder / "images"
        self.registry = Registry()
        self.asked = 0
        origin = folder / "origin.git"
        for words in (
            ["init", "--quiet", "--bare", str(origin)],
            ["init", "--quiet", str(self.folder)],
            ["-C", str(self.folder), "remote", "add", "origin", str(origin)],
        ):
            subprocess.run(["git", *words], check=True)
        (self.folder / "mlops.yaml").write_text(CONFIG)
        self.branch = Branch(repository=self.folder)
        self.images.mkdir()
        program = folder / "crane"
        program.write_text(
            "#!/bin/sh\n"
            '[ "$1 $2 $#" = "pull --format=oci 4" ] || exit 9\n'
            f'cp -r "{self.images}/${{3##*:}}" "$4" || {{ echo MANIFEST_UNKNOWN >&2; exit 1; }}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("MLOPS_CRANE", str(program))
        monkeypatch.chdir(self.folder)
        for name in ("GITHUB_EVENT_NAME", "GITHUB_WORKSPACE", "GITHUB_TOKEN", "GITHUB_ACTIONS"):
            monkeypatch.delenv(name, raising=False)
        self.outputs = folder / "outputs"
        monkeypatch.setenv("GITHUB_OUTPUT", str(self.outputs))
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary"))
        github.event.cache_clear()

        def with_registry(_project: object, action: Any) -> Any:
            self.asked += 1
            place = folder / f"state-{self.asked}"
            return action(self.registry, self.branch.checkout(place))

        monkeypatch.setattr(versions, "with_registry", with_registry)

    def push(self, version: str, *, labelled: str | None = None, model: str = MODEL) -> str:
        """Push the image of a version and record it; give its digest."""
        folder = self.images / "new"
        digest, _ = layout(folder, labelled or version, model)
        place = self.images / digest.removeprefix("sha256:")
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
        self.record(version, digest=digest, reference=f"{HOST}@{digest}")
        return digest

    def record(self, version: str, **predicate: object) -> None:
        """Record an image of a version."""
        document = evidence.statement("record", "passed", [], subjects=[], **predicate)

        def change(checkout: Checkout) -> None:
            evidence.write_json(checkout.folder / versions.record_path(MODEL, version), document)

        self.branch.transaction(change, "an image")

    def output(self, name: str) -> str | None:
        """What the last command set as an output."""
        lines = self.outputs.read_text().splitlines() if self.outputs.exists() else []
        found = [index for index, line in enumerate(lines) if line.startswith(f"{name}<<")]
        return lines[found[-1] + 1] if found else None
