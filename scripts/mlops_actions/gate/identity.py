"""Two models that are two, one evaluation set that is one, and rows that training never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mlops_actions.evidence import Check, Status, check

MARGIN = 0.02
"""How much more often evaluation rows may repeat training rows than training's own time blocks
repeat each other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """What an evaluation set shares with the training data.

    Attributes:
        rows: of the evaluation set.
        keys: ids that occur in the training data, too.
        content: rows whose feature values, all of them, occur in the training data.
        ordinary: the share of rows that repeat so between time blocks of the training data
            itself, or ``None`` where that is not known.

    """

    rows: int
    keys: int
    content: int
    ordinary: float | None = None


def models(candidate: str, champion: str | None, *, identical: bool) -> list[Check]:
    """Compare the digests of two models with what they answered.

    Args:
        candidate: sha256 of the candidate's files.
        champion: of the champion's, or ``None`` without one.
        identical: whether both said the same of every row.

    """
    if champion is None:
        return []
    if candidate == champion and not identical:
        message = (
            "Candidate and champion are the same files, but their predictions differ: one of them "
            "was not made by the model it is named after, or prediction is random."
        )
        return [check("identity: models", "fail", candidate, f"not {champion}", message)]
    return [check("identity: models", "pass", candidate, f"not {champion}")]


def evaluation(candidate: Mapping[str, str], champion: Mapping[str, str]) -> list[Check]:
    """Compare the digests of the evaluation sets, by name, that both sides were scored on."""
    found = []
    for name, digest in candidate.items():
        other = champion.get(name)
        if other == digest:
            found.append(check(f"identity: set {name}", "pass", other, digest, None, set=name))
            continue
        message = f"Candidate and champion were not scored on the same {name} set."
        found.append(check(f"identity: set {name}", "fail", other, digest, message, set=name))
    return found


def unseen(sets: Mapping[str, Overlap], *, margin: float = MARGIN) -> list[Check]:
    """Check that evaluation rows do not occur in the training data.

    By id, none may. By content some honestly do (31 % of the flights' feature rows repeat): fails
    when the share exceeds the ordinary one by more than ``margin``; where no ordinary share is
    known, the share is recorded and decides nothing.
    """
    found = []
    for name, overlap in sets.items():
        title = f"identity: {name} and training"
        message = None
        if overlap.keys:
            message = f"{overlap.keys} rows of the {name} set occur in the training data, by id."
        status: Status = "fail" if overlap.keys else "pass"
        found.append(check(f"{title}, by id", status, overlap.keys, 0, message, set=name))
        found.append(_by_content(title, name, overlap, margin))
    return found


def _by_content(title: str, name: str, overlap: Overlap, margin: float) -> Check:
    title = f"{title}, by content"
    if not overlap.rows:
        return check(title, "inconclusive", None, None, f"The {name} set is empty.", set=name)
    share = overlap.content / overlap.rows
    if overlap.ordinary is None:
        message = "How often training rows repeat each other is not known."
        return check(title, "skipped", share, None, message, set=name)
    most = overlap.ordinary + margin
    if share <= most:
        return check(title, "pass", share, most, None, set=name)
    message = (
        f"{share:.1%} of the rows of the {name} set repeat training rows; between time blocks of "
        f"the training data it is {overlap.ordinary:.1%}. It reads as a leak."
    )
    return check(title, "fail", share, most, message, set=name)
