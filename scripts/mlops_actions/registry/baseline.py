"""What the candidate is compared with: the champion, else the challenger, else nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import github, results
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.evidence import read, write_json
from mlops_actions.registry.store import (
    CHALLENGER,
    CHAMPION,
    EmbeddedRegistry,
    Registry,
    ServerRegistry,
    Version,
    describe,
    quiet,
    tracking_uri,
)
from mlops_actions.state import Branch

DOCUMENT = "baseline.json"


def fetch(project: Project, output: Path, branch: Branch, *, model: bool) -> dict[str, Any]:
    """Write ``baseline.json``, the baseline's evidence and, with ``model``, its files.

    ``output`` gets ``baseline.json``, ``evidence/`` and ``model/``; without ``model`` also
    ``anchors/<version>/``, the evidence of the versions that the baseline itself was held against
    as the best earlier ones, and ``challenger/``, that of the newest version where the baseline is
    another. What cannot be reached is recorded there with its reason, under ``problem``, instead
    of raised: the verdict is then inconclusive, never a bootstrap.
    """
    quiet()
    results.work_folder(output)
    document: dict[str, Any] = {
        "schema": 1,
        "model": project.config.name,
        "registry": None,
        "baseline": None,
        "aliases": {},
        "versions": {},
        "anchors": {},
        "problem": None,
    }
    try:
        uri = tracking_uri(project.config.registry)
        if uri:
            document["registry"] = "server"
            _fill(document, ServerRegistry(uri), output, model=model)
        else:
            document["registry"] = "embedded"
            with tempfile.TemporaryDirectory(prefix="mlops-state-") as folder:
                checkout = branch.checkout(Path(folder))
                if EmbeddedRegistry.exists(checkout):
                    _fill(document, EmbeddedRegistry(checkout), output, model=model)
    except Failure as problem:
        document["problem"] = problem.message
        github.warning(f"The baseline is out of reach: {problem.message}")
    restricted = github.event().restricted
    if restricted and document["baseline"] is None and document["problem"] is None:
        # Secrets are withheld: "no champion" and "no sight of it" look the same from here.
        document["problem"] = "without secrets, it may be out of sight"
    write_json(output / DOCUMENT, document)
    return document


def _fill(document: dict[str, Any], registry: Registry, output: Path, *, model: bool) -> None:
    name = document["model"]
    document |= describe(registry, name)
    alias = next((a for a in (CHAMPION, CHALLENGER) if a in document["aliases"]), None)
    if alias is None:
        return
    version = registry.version(name, document["aliases"][alias])
    registry.download_evidence(version, output / "evidence")
    if model:
        registry.download_model(version, output / "model")
    else:
        document["anchors"] = _anchors(registry, version, output)
        newest = document["aliases"].get(CHALLENGER)
        if newest not in {None, version.version}:
            registry.download_evidence(registry.version(name, newest), output / CHALLENGER)
    document["baseline"] = {
        "alias": alias,
        "version": version.version,
        "run_id": version.run_id,
        "model_digest": version.tags.get("mlops.model_digest"),
        "cutoff": version.tags.get("mlops.cutoff") or None,
    }


def _anchors(registry: Registry, baseline: Version, output: Path) -> dict[str, dict[str, Any]]:
    """Fetch the evidence of each set's anchor, as the baseline's verdict names it.

    Gives by set its ``version`` and, where it cannot be had, the ``problem``. A set whose anchor
    is the baseline itself is left out.
    """
    gate = output / "evidence" / "gate.json"
    named = read(gate, "gate").get("anchor") if gate.is_file() else None
    found: dict[str, dict[str, Any]] = {}
    for name, number in named.items() if isinstance(named, dict) else ():
        if number is None or str(number) == baseline.version:
            continue
        found[name] = {"version": str(number), "problem": None}
        try:
            version = registry.version(baseline.name, str(number))
            registry.download_evidence(version, output / "anchors" / version.version)
        except Failure as problem:
            found[name]["problem"] = problem.message
    return found
