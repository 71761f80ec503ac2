"""Evidence: one in-toto statement a stage, each naming the digests of those before it.

Source: in-toto Attestation Framework, Statement v1
(https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import math
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args

from mlops_actions import __version__, github
from mlops_actions.errors import Failure

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATES = "https://github.com/mlops-actions/mlops-actions/evidence"
_CHUNK = 1 << 20

Status = Literal["pass", "fail", "inconclusive", "skipped"]
_STATUSES = get_args(Status)


class Check(TypedDict):
    """One thing that was looked at, what was seen and what was asked for."""

    name: str
    status: Status
    observed: Any
    required: Any
    message: NotRequired[str]


def check(
    name: str,
    status: Status,
    observed: object = None,
    required: object = None,
    message: str | None = None,
    **more: object,
) -> Check:
    """Make a check; ``more`` are further JSON values of the stage's own."""
    result: dict[str, Any] = {
        "name": name,
        "status": status,
        "observed": observed,
        "required": required,
    }
    if message:
        result["message"] = message
    return result | more  # type: ignore[return-value]


def json_safe(value: object) -> Any:
    """Turn non-finite numbers into strings: JSON has no word for them, and null would hide them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


def sha256_file(path: Path) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def sha256_tree(folder: Path) -> str:
    """Digest of a folder: of the sorted lines ``<digest>  <relative path>`` of its files.

    A symbolic link is refused: what it points to is not part of the folder.
    """
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise Failure("A symbolic link cannot be part of evidence.", file=path)
        if path.is_file():
            lines.append(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n")
    try:
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    except UnicodeEncodeError:
        raise Failure("A file has a name that is not UTF-8.", file=folder) from None


def subject(name: str, sha256: str) -> dict[str, Any]:
    """Name a thing by its digest."""
    return {"name": name, "digest": {"sha256": sha256}}


def _tool_commit() -> str | None:
    # The runner unpacks an action without its history, under its commit: .../<owner>/<repo>/<sha>.
    root = Path(__file__).resolve().parents[2]
    if len(root.name) == 40 and set(root.name) <= set("0123456789abcdef"):  # noqa: PLR2004
        return root.name
    if (root / ".git").exists():
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() or None
    return os.environ.get("MLOPS_ACTIONS_COMMIT")


def statement(
    stage: str,
    verdict: str,
    checks: Sequence[Check],
    *,
    subjects: Iterable[Mapping[str, Any]],
    inputs: Iterable[Mapping[str, Any]] = (),
    previous: Iterable[Path] = (),
    **predicate: object,
) -> dict[str, Any]:
    """Make the evidence of a stage.

    ``subjects`` and ``inputs`` come from :func:`subject`; ``previous`` are the evidence files that
    this one builds on; ``predicate`` adds keys of the stage's own.
    """
    now = github.event()
    body: dict[str, Any] = {
        "stage": stage,
        "verdict": verdict,
        "checks": list(checks),
        "inputs": list(inputs),
        "previous": [subject(path.name, sha256_file(path)) for path in previous],
        "tool": {"version": __version__, "commit": _tool_commit()},
        "source": {
            "repository": now.repository or None,
            "commit": now.commit or None,
            "ref": now.ref or None,
            "run": now.run_url,
        },
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **predicate,
    }
    return {
        "_type": STATEMENT,
        "subject": list(subjects),
        "predicateType": f"{PREDICATES}/{stage}/v1",
        "predicate": body,
    }


def write_json(path: Path, document: object) -> str:
    """Write a document whole or not at all; give its digest."""
    text = json.dumps(json_safe(document), indent=2, allow_nan=False, default=str) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise OSError(problem.errno, problem.strerror, str(path)) from None
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read one of our JSON objects, or say in one line what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Failure("The file is missing.", file=path) from None
    except (ValueError, RecursionError) as problem:  # Of text, of JSON, of its numbers.
        raise Failure(f"Not valid JSON: {problem}.", file=path) from None
    if not isinstance(document, dict):
        raise Failure("Expected a JSON object.", file=path)
    return document


def read(path: Path, stage: str) -> dict[str, Any]:
    """Read the evidence of a stage and give its predicate.

    Raises :class:`Failure` where it is of another stage, or where a verdict, a check or a subject
    has not the shape that :func:`statement` gives it: user code may have written it.
    """
    document = read_json(path)
    predicate = document.get("predicate")
    if (
        document.get("_type") != STATEMENT
        or document.get("predicateType") != f"{PREDICATES}/{stage}/v1"
        or not isinstance(predicate, dict)
    ):
        raise Failure(f"This is not evidence of the stage {stage}.", file=path)
    for name, whole in (
        ("verdict", isinstance(predicate.get("verdict"), str)),
        ("checks", _every(predicate.get("checks"), _is_check)),
        ("subject", _every(document.get("subject"), _is_subject)),
        ("inputs", _every(predicate.get("inputs"), _is_subject)),
        ("previous", _every(predicate.get("previous"), _is_subject)),
    ):
        if not whole:
            raise Failure(f"{name}: not as the stage {stage} writes it.", file=path)
    return predicate


def _every(items: object, holds: Callable[[dict[str, Any]], bool]) -> bool:
    return isinstance(items, list) and all(isinstance(one, dict) and holds(one) for one in items)


def _is_check(item: dict[str, Any]) -> bool:
    texts = (item.get("name"), item.get("message", ""))
    return all(isinstance(text, str) for text in texts) and item.get("status") in _STATUSES


def _is_subject(item: dict[str, Any]) -> bool:
    digest = item.get("digest")
    return (
        isinstance(item.get("name"), str)
        and isinstance(digest, dict)
        and isinstance(digest.get("sha256"), str)
    )
