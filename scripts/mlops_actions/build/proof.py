"""Build an image of a blessed version and prove what was built, in the order of the cost."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github
from mlops_actions.build import container, context, engine, golden, layout, pickles
from mlops_actions.build.blessed import Blessed
from mlops_actions.build.requirements import Index
from mlops_actions.evidence import Check, check
from mlops_actions.scan import trusted

_PERCENTILE = 0.95
_ORDER = ("model files", "image", "smoke", "parity", "latency")


def local_name(blessed: Blessed) -> str:
    """What the image is called in this machine's engine."""
    name = re.sub(r"[._-]+", "-", blessed.name).strip("-")
    return f"mlops-build/{name}:{blessed.version}"


def make(loaded: config.Project, blessed: Blessed, work: Path, index: Index) -> dict[str, Any]:
    """Build, prove, and give the evidence; ``work`` gets ``context/`` and ``layout/``.

    Raises :class:`Failure` when there is no image to speak about. What the image does not show is
    a failed check; the checks behind it are then skipped.
    """
    trusted.write_configuration(work)
    described = context.described(work / "model")
    checks = [_model_files(loaded, described, work / "model")]
    if checks[0]["status"] != "pass":
        return _document(loaded, blessed, work, checks, None, {})
    rows = golden.find(work / "evidence")
    base = _base(loaded, described)
    made = context.write(loaded, blessed, work, base=base, index=index)
    tag = local_name(blessed)
    engine.build(made, tag, index)
    with github.group("Proving the image"):
        checks += _prove(loaded, blessed, tag, rows)
    layout.write(tag, work / "layout")
    found = layout.read(work / "layout")
    checks.insert(1, _image(found, made))
    facts = {
        "base": base,
        "packages": len(re.findall(r"^\S+==", made.lock.read_text("utf-8"), re.MULTILINE)),
        "source_date_epoch": made.epoch,
        "reproducible": _reproducible(),
        "golden": None if rows is None else len(rows.records),
        "own_dockerfile": loaded.config.build.dockerfile,
        "inputs_of_build": [
            evidence.subject("requirements.lock", evidence.sha256_file(made.lock)),
            evidence.subject("Dockerfile", evidence.sha256_file(made.dockerfile)),
            evidence.subject("serving", evidence.sha256_tree(made.folder / "serving")),
        ],
    }
    return _document(loaded, blessed, work, checks, found, facts)


def _base(loaded: config.Project, described: dict[str, Any]) -> str | None:
    """The base image with its digest; a Dockerfile of the user's own may name its base itself."""
    settings = loaded.config.build
    if settings.dockerfile and not settings.base:
        return None
    default = context.default_base(context.python_of(described))
    return engine.resolve_base(settings.base or default)


def _model_files(loaded: config.Project, described: dict[str, Any], model: Path) -> Check:
    flavours = described["flavors"]
    declared = [
        str(part[key])
        for part in flavours.values()
        if isinstance(part, dict)
        for key in ("pickled_model", "python_model", "data")
        if isinstance(part.get(key), str) and part.get("serialization_format") != "skops"
    ]
    result = pickles.scan(model, declared=declared, allowed=loaded.config.build.allowed_imports)
    if not result.findings:
        return check("model files", "pass", f"{result.pickles} pickles")
    listed = "; ".join(f"{one.file} {one.what}" for one in result.findings[:5])
    return check(
        "model files",
        "fail",
        f"{len(result.findings)} findings",
        "no pickle imports what is not known",
        f"{listed}. Log the model with skops, or name the package in build.allowed_imports.",
    )


def _image(found: layout.Layout, made: context.Context) -> Check:
    missing = [key for key, value in made.labels.items() if found.labels.get(key) != value]
    problems = []
    if container.runs_as_root(found.settings):
        problems.append("it runs as root")
    if not found.settings.get("Healthcheck"):
        problems.append("it has no HEALTHCHECK")
    if missing:
        problems.append(f"labels differ: {', '.join(missing)}")
    return check(
        "image",
        "fail" if problems else "pass",
        f"{found.bytes / 1e6:.0f} MB compressed",
        "a user that is not root, a HEALTHCHECK, labels",
        "; ".join(problems) or None,
    )


def _prove(
    loaded: config.Project, blessed: Blessed, tag: str, rows: golden.Golden | None
) -> list[Check]:
    settings = loaded.config.build
    allowed = config.parse_duration(settings.ready_within).total_seconds()
    seen = container.visit(
        tag,
        rows.requests() if rows else [],
        ready_within=allowed,
        requests=settings.latency.requests,
    )
    smoke = _smoke(seen, allowed, blessed.model_digest)
    if smoke["status"] != "pass":
        return [smoke, *(check(name, "skipped") for name in ("parity", "latency"))]
    if rows is None:
        message = (
            "The version has no golden rows to compare with: log the model with input_example, a "
            "data frame that it can predict, and train again."
        )
        return [smoke, *(check(n, "inconclusive", message=message) for n in ("parity", "latency"))]
    parity = _parity(seen, rows, settings.parity)
    if parity["status"] != "pass" and loaded.config.score:
        parity["message"] += (
            f". What was judged is the model with the function {loaded.config.score}; the image "
            "serves the model alone: make the function part of it (mlflow.pyfunc.PythonModel)."
        )
    return [smoke, parity, _latency(seen, settings.latency)]


def _smoke(seen: container.Visit, allowed: float, model: str) -> Check:
    required = f"ready within {allowed:.0f} s: read-only, no network, no rights"
    if not seen.ready:
        last = seen.log.strip().splitlines()[-1:] or ["nothing"]
        message = f"The container did not get ready; it last said: {last[0][:500]}"
        return check("smoke", "fail", f"{seen.seconds:.1f} s", required, message)
    pages, answers = seen.found.get("pages", {}), seen.found.get("answers", [])
    problems = [f"{path} answers {status}" for path, (status, _) in pages.items() if status != 200]  # noqa: PLR2004
    problems += [
        f"/predict answers {status}: {str(answer)[:300]}"
        for status, answer in answers
        if status != 200  # noqa: PLR2004
    ][:1]
    if seen.found.get("nonsense", [0])[0] not in range(400, 500):
        problems.append(f"nonsense is answered with {seen.found.get('nonsense', [0])[0]}")
    if seen.found.get("model_digest") != model:
        problems.append("its /opt/model is not the model that was blessed")
    if seen.found.get("user") == 0:
        problems.append("it runs as root")
    if seen.found.get("writable"):
        problems.append(f"it can write {', '.join(seen.found['writable'])}")
    if seen.found.get("compilers"):
        problems.append(f"it brings {', '.join(seen.found['compilers'])}")
    return check(
        "smoke",
        "fail" if problems else "pass",
        f"ready after {seen.seconds:.1f} s",
        required,
        "; ".join(problems) or None,
    )


def _parity(seen: container.Visit, rows: golden.Golden, tolerance: config.Parity) -> Check:
    together, *single = (answer for _, answer in seen.found["answers"])
    merged = {
        "predictions": [item for one in single for item in one["predictions"]],
        "probabilities": {
            label: [item for one in single for item in one.get("probabilities", {}).get(label, [])]
            for label in rows.probabilities
        },
    }
    found = [golden.compare(rows, answer, tolerance) for answer in (together, merged)]
    problem = next((one.problem for one in found if one.problem), None)
    return check(
        "parity",
        "fail" if problem else "pass",
        max(one.largest for one in found),
        f"{tolerance.absolute:g} + {tolerance.relative:g} of the value",
        problem,
        rows=len(rows.records),
    )


def _latency(seen: container.Visit, policy: config.Latency) -> Check:
    times = sorted(seen.found.get("milliseconds", []))
    if len(times) < policy.requests:
        message = f"{policy.requests - len(times)} of {policy.requests} requests failed."
        return check("latency", "fail", None, policy.p95, message)
    p95 = times[math.ceil(_PERCENTILE * len(times)) - 1]
    return check(
        "latency",
        "pass" if p95 <= policy.p95 else "fail",
        round(p95, 3),
        policy.p95,
        None if p95 <= policy.p95 else f"The 95th percentile is {p95:.1f} ms.",
        median=round(times[len(times) // 2], 3),
        requests=len(times),
        unit="ms",
    )


def _reproducible() -> str:
    """What two builds of the same inputs share, with this engine."""
    version = engine.docker("version", "--format", "{{.Server.Version}}")
    return (
        "The content and times of files do not depend on when they were built. Docker "
        f"{version} itself writes the time of the build beside them, so that only builds that "
        "share its cache have one digest."
    )


def _document(
    loaded: config.Project,
    blessed: Blessed,
    work: Path,
    checks: list[Check],
    found: layout.Layout | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    known = {one["name"] for one in checks}
    checks = [*checks, *(check(name, "skipped") for name in _ORDER if name not in known)]
    bad = {one["status"] for one in checks}
    passed = found is not None and bad <= {"pass"}
    subjects = [evidence.subject("model", blessed.model_digest)]
    if found is not None:
        subjects.insert(0, evidence.subject("image", found.manifest.removeprefix("sha256:")))
    inputs = [
        evidence.subject("config", evidence.sha256_file(loaded.file)),
        *facts.pop("inputs_of_build", []),
    ]
    kept = work / "evidence"
    return evidence.statement(
        "build",
        "passed" if passed else "failed" if "fail" in bad else "inconclusive",
        checks,
        subjects=subjects,
        inputs=inputs,
        previous=[kept / "gate.json", kept / "publish.json"],
        model=blessed.name,
        version=blessed.version,
        run_id=blessed.run_id,
        image=None
        if found is None
        else {"manifest": found.manifest, "config": found.config, "bytes": found.bytes},
        labels={} if found is None else found.labels,
        **facts,
    )
