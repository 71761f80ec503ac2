"""The data manifest ``data.json``, and the key files that the gate reads instead of the data."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlops_actions import evidence
from mlops_actions.config import parse_duration
from mlops_actions.errors import Failure
from mlops_actions.validate.content import as_time, time_range
from mlops_actions.validate.source import Source

_Count = Annotated[int, Field(ge=0, lt=1 << 53)]


def _moment(text: str) -> str:
    datetime.datetime.fromisoformat(text)
    return text


class _Data(BaseModel):
    model_config = ConfigDict(strict=True)

    rows: _Count
    digest: str


class _Training(_Data):
    cutoff: Annotated[str, AfterValidator(_moment)] | None


class _Keys(BaseModel):
    model_config = ConfigDict(strict=True)

    file: Annotated[str, Field(pattern=r"^evaluation/\w+\.parquet$")]


class _Overlap(BaseModel):
    model_config = ConfigDict(strict=True)

    keys: _Count = 0
    content: _Count = 0
    ordinary: Annotated[float, Field(ge=0, le=1)] | None = None


class _Evaluation(_Data):
    keys: _Keys
    overlap: _Overlap | None = None


class _Manifest(BaseModel):
    training: _Training
    evaluation: dict[str, _Evaluation]


def read(path: Path) -> dict[str, Any]:
    """Read ``data.json`` as far as a verdict rests on it: its folder lay open to user code.

    Raises :class:`Failure` where a value has another type than :func:`describe` and its callers
    give it.
    """
    document = evidence.read_json(path)
    try:
        _Manifest.model_validate_json(path.read_bytes())
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Failure(f"This is no manifest of data: {place}: {first['msg']}.", file=path) from None
    return document


def describe(source: Source) -> dict[str, Any]:
    """Give path, files with digests, rows, and one digest over all files (sorted by path)."""
    files = [
        {"path": name, "sha256": evidence.sha256_file(file), "bytes": file.stat().st_size}
        for file, name in zip(source.files, source.names, strict=True)
    ]
    digests = sorted(str(file["sha256"]) for file in files)
    return {
        "path": source.path,
        "files": files,
        "rows": source.rows,
        "digest": hashlib.sha256("\n".join(digests).encode()).hexdigest(),
    }


def training(source: Source, time: str | None) -> dict[str, Any]:
    """Describe the training data; the cut-off is the time of its newest row."""
    _, last = time_range(source, time)
    return describe(source) | {"cutoff": last}


def evaluation(
    source: Source, time: str | None, *, cutoff: datetime.datetime | None, gap: str
) -> dict[str, Any]:
    """Describe an evaluation set.

    ``before_cutoff`` counts the rows at or before the training cut-off plus the gap; ``None``
    where there is no time to compare.
    """
    first, last = time_range(source, time)
    before: int | None = None
    values = as_time(source, time) if time in source.columns and time is not None else None
    if cutoff is not None and values is not None and last is not None:
        bound = cutoff + parse_duration(gap)
        if (bound.tzinfo is None) == (last.tzinfo is None):
            early = source.scan().select((values <= bound).sum()).collect(engine="streaming")
            before = int(early.item())
    return describe(source) | {"first": first, "last": last, "before_cutoff": before}


def write_keys(source: Source, columns: list[str], path: Path) -> dict[str, str]:
    """Write the key columns of an evaluation set, rows in file order; give name and digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    lazy = source.scan().select(columns)
    lazy.sink_parquet(partial, compression="zstd", maintain_order=True)
    partial.replace(path)
    return {"file": f"{path.parent.name}/{path.name}", "sha256": evidence.sha256_file(path)}
