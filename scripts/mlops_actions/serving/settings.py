"""What the environment says about how to serve."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to serve, with the defaults of the image."""

    model: Path = Path("/opt/model")
    about: Path = Path("/opt/about.json")
    host: str = "0.0.0.0"  # noqa: S104 - a container's own address is known only when it runs.
    port: int = 8080
    max_body_bytes: int = 10_000_000
    max_rows: int = 10_000
    threads: int = dataclasses.field(default_factory=lambda: len(os.sched_getaffinity(0)))
    shutdown_seconds: int = 25  # Below Kubernetes' 30, after which it kills.

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read ``MLOPS_<NAME>`` for each field; raise ``ValueError`` with the variable's name."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            name = f"MLOPS_{field.name.upper()}"
            text = environment.get(name, "")
            if not text:
                continue
            if field.type == "int":
                if not text.isdigit() or int(text) < 1:
                    raise ValueError(f"{name}: expected a whole number from 1, not {text!r}")
                values[field.name] = int(text)
            else:
                values[field.name] = Path(text) if field.type == "Path" else text
        return cls(**values)

    def describe(self) -> dict[str, Any]:
        """What the build wrote about the model: name, version and digests."""
        if not self.about.is_file():
            return {}
        document: dict[str, Any] = json.loads(self.about.read_text(encoding="utf-8"))
        return document
