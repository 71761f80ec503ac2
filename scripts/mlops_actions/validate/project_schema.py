"""A Pandera schema that is a Python object: checked in the project environment, read here.

What ``python_schema.py`` leaves in its output folder is the user's word, so it is read with care:
only counts, row numbers and short texts, and of a sensitive column neither values nor messages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from mlops_actions import evidence, github
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.validate.examples import LIMIT, Shown, counted, shown
from mlops_actions.validate.source import Source

SCRIPT = Path(__file__).with_name("python_schema.py")
BATCH_ROWS = 2_000_000
_MESSAGE = 500  # Characters.
_FAILURES = 1000


def checks(
    project: Project,
    reference: str,
    source: Source,
    rule: Shown,
    scratch: Path,
    run_in_project: Callable[[list[str]], None],
) -> list[evidence.Check]:
    """Check a source against ``reference`` (``package.module:Schema``); give the checks.

    Raises :class:`ConfigurationError` when the schema cannot be imported or is none.
    """
    output = scratch / f"schema-{len(list(scratch.iterdir()))}"
    output.mkdir()
    words = [str(SCRIPT), "--schema", reference, "--output", str(output)]
    words += ["--batch-rows", str(BATCH_ROWS)]
    for column in rule.sensitive:
        words += [f"--sensitive={column}"]
    run_in_project([*words, "--", *(str(file.resolve()) for file in source.files)])
    answer = output / "schema.json"
    if not answer.is_file():
        raise project.error(
            f"The schema {reference}: Python ended before it was checked.", "data", "schema"
        )
    document = evidence.read_json(answer)
    error = document.get("error")
    if error is not None:
        text = f"The schema {reference}: {_text(error.get('message'))}"
        trace = [str(line) for line in error.get("traceback") or []]
        detail = "".join(f"\n  {line}" for line in trace[-10:])
        if error.get("kind") == "data":
            raise Failure(text + detail, file=source.names[0])
        raise project.error(text + detail, "data", "schema")
    if document.get("status") != "checked" or not isinstance(document.get("failures"), list):
        raise Failure("The schema's result is incomplete.", file=answer)
    if document.get("rows") != source.rows:
        raise Failure(
            f"The project environment read {document.get('rows')} rows, we {source.rows}.",
            file=source.names[0],
        )
    if document.get("batched"):
        github.warning(
            f"{reference} saw the data in batches of {BATCH_ROWS} rows: a check of a whole "
            "column, such as of its mean, was made of each batch."
        )
    failures = document["failures"][:_FAILURES]
    examples = _examples(output / "failures.parquet", source, rule, failures)
    made = [
        _check(failure, rule, examples.get(number, [])) for number, failure in enumerate(failures)
    ]
    verdict: evidence.Status = "fail" if made else "pass"
    message = f"Checks of {reference} that fail: {len(made)}." if made else reference
    return [evidence.check("schema", verdict, len(made), "no failing check", message), *made]


def _text(value: object) -> str:
    return str(value or "")[:_MESSAGE]


def _check(failure: Any, rule: Shown, examples: list[dict[str, Any]]) -> evidence.Check:
    column = failure.get("column")
    rows = failure.get("rows")
    label = _text(failure.get("check")) or "check"
    plain = column is None or column not in rule.sensitive
    where = "The rows" if column is None else f"The column {column}"
    broken = f"does not hold in {counted(rows)}" if rows else "failed"
    message = f"{where}: {label} {broken}."
    if plain and failure.get("message") and not (column is None and rule.sensitive):
        message = _text(failure["message"])
    return evidence.check(
        f"schema:{'*' if column is None else _text(column)}:{label}",
        "fail",
        rows if isinstance(rows, int) else None,
        label,
        message,
        rows=rows if isinstance(rows, int) else 0,
        examples=examples,
    )


def _examples(
    path: Path, source: Source, rule: Shown, failures: list[Any]
) -> dict[int, list[dict[str, Any]]]:
    """Read the example rows and look up their ids in the files as we read them."""
    if not path.is_file():
        return {}
    try:
        found = pl.read_parquet(path).select("failure", "file", "row", "value").to_dicts()
    except (pl.exceptions.PolarsError, OSError, ValueError) as problem:
        raise Failure(f"The schema's failure cases cannot be read: {problem}.") from None
    names = {str(file.resolve()): number for number, file in enumerate(source.files)}
    result: dict[int, list[dict[str, Any]]] = {}
    for item in found:
        number = names.get(item["file"])
        listed = result.setdefault(int(item["failure"]), [])
        if number is None or len(listed) >= LIMIT or not 0 <= item["failure"] < len(failures):
            continue
        example: dict[str, Any] = {"file": source.names[number], "row": item["row"] + 1}
        if rule.identifier in source.columns and rule.identifier not in rule.sensitive:
            lazy = pl.scan_parquet(source.readable[number], hive_partitioning=False, glob=False)
            one = lazy.select(rule.identifier).slice(item["row"], 1).collect()
            if one.height:
                example["id"] = shown(one.item())
        column = failures[item["failure"]].get("column")
        if column is not None and column not in rule.sensitive:
            example["value"] = shown(item["value"])
        listed.append(example)
    return result
