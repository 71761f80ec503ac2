"""The errors that end a command with a message instead of a traceback."""

from __future__ import annotations

from pathlib import Path


class Failure(Exception):
    """Something the user can act on; caught once, in :func:`mlops_actions.cli.main`.

    ``code`` is the exit code: 1 when the thing that was judged failed, 2 when the configuration
    or the call is wrong. ``file``, ``line`` and ``column`` (from 1) say where, when it is known.
    """

    code = 1

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.column = column

    def __str__(self) -> str:
        """Give ``file:line:column: message`` with the parts that are known."""
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{where}: {self.message}" if where else self.message


class ConfigurationError(Failure):
    """``mlops.yaml``, an input or the call itself is wrong."""

    code = 2
