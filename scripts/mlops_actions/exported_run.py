"""A training run as JSON and files: what the job ``model`` hands over, and what we accept of it.

The writer is ``runner.py``, in the project environment, beside user code. So nothing here is
trusted: every name, size and number is checked before anything is imported from it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mlops_actions.errors import Failure
from mlops_actions.evidence import read_json

MAX_FILES = 5_000
MAX_BYTES = 5 << 30
MAX_DEPTH = 20
_NAME = re.compile(r"[^\x00-\x1f\x7f\\:\ud800-\udfff]+")
_OF_GIT = frozenset((".git", "git~1"))  # The embedded registry is a branch, which takes none.

Name = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[\w./ :@()+=%-]+$")]
Millis = Annotated[int, Field(ge=0, lt=1 << 53)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _number(value: object) -> object:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


class Measurement(_Part):
    """One value of a metric."""

    value: Annotated[float, BeforeValidator(_number)]
    timestamp: Millis
    step: int


class Dataset(_Part):
    """A data set that the run names as its input."""

    name: Annotated[str, Field(max_length=500)]
    digest: Annotated[str, Field(max_length=36)]


class Model(_Part):
    """The model that the run logged."""

    name: Name
    params: dict[Name, Annotated[str, Field(max_length=6000)]] = Field(default_factory=dict)


class ExportedRun(_Part):
    """The run itself. There is no place for a URI: nothing of ours ever follows one."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    run_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    name: Annotated[str, Field(max_length=250)]
    status: str = Field(pattern=r"^(FINISHED|FAILED|KILLED|RUNNING)$")
    start: Millis
    end: Millis | None
    params: dict[Name, Annotated[str, Field(max_length=6000)]]
    metrics: dict[Name, list[Measurement]]
    tags: dict[Name, Annotated[str, Field(max_length=8000)]]
    datasets: list[Dataset]
    model: Model | None


def read(path: Path) -> ExportedRun:
    """Read ``run.json`` strictly.

    Raises :class:`Failure` on anything that the schema does not have, a URI for example.
    """
    document = read_json(path)
    try:
        return ExportedRun.model_validate_json(path.read_bytes())
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or next(iter(document), "")
        raise Failure(f"The exported run is refused: {place}: {first['msg']}.", file=path) from None


def check_files(folder: Path) -> int:
    """Walk handed-over files and refuse what they may not be; give their size in bytes.

    Refused: links, sockets and devices, more than one name for a file, names that are ``..`` or
    ``.git`` or have backslashes, colons, control characters or what is not UTF-8, and more files or
    bytes than a model has.
    """
    reserved = folder / "run" / "artifacts" / "mlops"
    if reserved.exists():
        raise Failure(
            "The exported run is refused: artifacts named mlops would mix with the evidence.",
            file=reserved,
        )
    total = count = 0
    pending = [(folder, 0)]
    while pending:
        current, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise Failure("The exported run is refused: folders too deep.", file=current)
        with os.scandir(current) as entries:
            for entry in entries:
                plain = entry.name.casefold().rstrip(" .")
                if not _NAME.fullmatch(entry.name) or not plain or plain in _OF_GIT:
                    raise Failure(
                        f"The exported run is refused: a file is named {entry.name!r}.",
                        file=current,
                    )
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append((Path(entry.path), depth + 1))
                    continue
                if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                    raise Failure(
                        "The exported run is refused: it has a link or a special file.",
                        file=entry.path,
                    )
                count += 1
                total += status.st_size
                if count > MAX_FILES or total > MAX_BYTES:
                    raise Failure(
                        f"The exported run is refused: more than {MAX_FILES} files or "
                        f"{MAX_BYTES >> 30} GiB.",
                        file=folder,
                    )
    return total
