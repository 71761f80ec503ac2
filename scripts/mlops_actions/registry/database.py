"""What the embedded registry's database says, read without MLflow.

To read is what every pull request does, twice, and MLflow's client takes two seconds to import. A
test holds these answers against MLflow's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

from mlops_actions.errors import Failure

_DELETED = "Deleted_Internal"  # MLflow's word for a version that is gone; its row stays.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Database:
    """An MLflow SQLite database, to read. Every method raises :class:`Failure` in one line."""

    path: Path
    place: str  # What to call it.

    def aliases(self, name: str) -> dict[str, str]:
        """Give alias -> version of a model; empty when the model is not registered."""
        rows = self._ask("SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)
        return {alias: str(version) for alias, version in rows}

    def version(self, name: str, version: str) -> tuple[str, str, dict[str, str]]:
        """Give run id, source and tags of a version."""
        rows = self._ask(
            "SELECT run_id, source FROM model_versions "
            "WHERE name = ? AND version = ? AND current_stage != ?",
            name, version, _DELETED,
        )  # fmt: skip
        if not rows:
            raise Failure(f"{self.place}: there is no version {version} of {name}.")
        tags = self._ask(
            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
            name, version,
        )  # fmt: skip
        run_id, source = rows[0]
        return run_id or "", source or "", dict(tags)

    def artifacts_of(self, run_id: str) -> str:
        """Give the address of a run's artifacts."""
        rows = self._ask("SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
        if not rows:
            raise Failure(f"{self.place}: there is no run {run_id}.")
        return str(rows[0][0])

    def _ask(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as problem:
            raise Failure(f"{self.place} cannot be read: {problem}.") from None
