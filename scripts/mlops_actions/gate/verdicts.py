"""How often a release set has decided: a small record on the branch ``mlops-state``.

Every verdict on the default branch counts, the rejected ones too: each told the authors something
about the set. Only what was recorded counts, so the record is written before a verdict is said.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import evidence, github
from mlops_actions.errors import Failure
from mlops_actions.state import Branch, Checkout

SCHEMA = 1


class Moved(Failure):
    """The set gave another verdict meanwhile: this one was judged at the wrong level."""


def earlier(branch: Branch, model: str, digest: str) -> int:
    """Count the verdicts that a release set has given.

    Raises :class:`Failure` where the branch is out of reach or the record is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-state-") as folder:
        return _count(_read(branch.checkout(Path(folder)), model), digest)


def record(branch: Branch, model: str, digest: str, *, verdict: str, earlier: int) -> None:
    """Add a verdict to the record.

    Args:
        branch: where it is kept.
        model: its name.
        digest: of the release set.
        verdict: what is about to be said.
        earlier: the count that it was judged with.

    Raises:
        Moved: the set gave another verdict meanwhile.
        Failure: it cannot be written.

    """
    event = github.event()

    def change(checkout: Checkout) -> None:
        verdicts = _read(checkout, model)
        if _count(verdicts, digest) != earlier:
            raise Moved("The release set gave another verdict meanwhile. Run it again.")
        verdicts.append(
            {
                "set": digest,
                "verdict": verdict,
                "commit": event.commit,
                "run": event.run_id,
                "created": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
                "previous": _digest(verdicts[-1]) if verdicts else None,
            }
        )
        evidence.write_json(_path(checkout, model), {"schema": SCHEMA, "verdicts": verdicts})

    branch.transaction(change, f"{model}: a verdict on the release set, {verdict}")


def _path(checkout: Checkout, model: str) -> Path:
    return checkout.folder / "gate" / f"{model}.json"


def _digest(item: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()


def _count(verdicts: list[dict[str, Any]], digest: str) -> int:
    return sum(item.get("set") == digest for item in verdicts)


def _read(checkout: Checkout, model: str) -> list[dict[str, Any]]:
    path = _path(checkout, model)
    checkout.bring([f"gate/{path.name}"])
    if not path.is_file():
        return []
    document = evidence.read_json(path)
    verdicts = document.get("verdicts")
    if document.get("schema") != SCHEMA or not isinstance(verdicts, list):
        raise Failure("The record of verdicts on mlops-state is damaged, or of a newer version.")
    previous = None
    for item in verdicts:
        if not isinstance(item, dict) or item.get("previous") != previous:
            raise Failure("The record of verdicts on mlops-state has a gap: someone changed it.")
        previous = _digest(item)
    return verdicts
