"""One JSON object a line on standard output."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Any

LOGGER = logging.getLogger("mlops.serving")


class Formatter(logging.Formatter):
    """Writes a record, the keys of its ``extra={"fields": …}`` and its traceback as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send every logger's records to standard output, from information upwards."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "mlflow"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
