"""A verdict that someone overruled: possible, and never silent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mlops_actions import config
from mlops_actions.errors import ConfigurationError
from mlops_actions.evidence import check
from mlops_actions.gate.approval import NAME as POLICY_CHANGES
from mlops_actions.gate.decision import Judgement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Override:
    """Who lets a candidate pass against the gate's verdict.

    Attributes:
        who: the account that decided it.
        why: the reason, in a sentence.
        until: the version up to which it holds; later verdicts are judged as ever.

    """

    who: str
    why: str
    until: str

    def __post_init__(self) -> None:
        """Refuse one that does not say who, why and until when."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value.strip() or any(ord(character) < 32 for character in value):  # noqa: PLR2004
                raise ConfigurationError(f"An override says in one line {field.name}.")


def consider(
    judgement: Judgement, wanted: config.Override | None, *, newest: int | None, where: str | None
) -> Judgement:
    """Overrule where ``mlops.yaml`` says so; a judgement it does not reach says why not.

    Args:
        judgement: the gate's own.
        wanted: ``gate.override``.
        newest: the newest registered version, which must be below ``until``; ``None`` where that
            is not known.
        where: why an override does not count here at all, or ``None``.

    """
    if wanted is None:
        return judgement
    reason = where
    if reason is None and newest is None:
        reason = "the newest registered version is not known"
    elif reason is None and newest is not None and newest >= wanted.until:
        reason = f"it ended with version {wanted.until}"
    if reason is None:
        try:
            return overrule(
                judgement, Override(who=wanted.who, why=wanted.why, until=str(wanted.until))
            )
        except ConfigurationError as problem:
            reason = problem.message
    note = f"gate.override was not used: {reason}."
    return dataclasses.replace(judgement, warnings=[*judgement.warnings, note])


def overruled(predicate: Mapping[str, Any], who: str) -> list[str]:
    """Say of a version, from its gate's evidence, that it was let through against a verdict."""
    override = predicate.get("override")
    if not isinstance(override, dict):
        return []
    said = f"{who} was let through against the verdict {override.get('verdict')} by "
    return [f"{said}{override.get('who')}: {override.get('why')}"]


def overrule(judgement: Judgement, override: Override) -> Judgement:
    """Return the judgement with the verdict ``blessed``, and everything about it on record.

    A verdict that needs none stays as it is. One on a candidate whose own predictions, or whose
    evaluation set, cannot be read cannot be overruled: nothing is known of that model. Nor can the
    policy overrule the approval that a change of it needs.
    """
    if judgement.verdict in {"blessed", "unchanged"}:
        return judgement
    unread = [
        item
        for item in judgement.checks
        if (item["status"] == "fail" and item.get("side") in {"candidate", "evaluation"})
        or (item["status"] in {"fail", "inconclusive"} and item["name"] == POLICY_CHANGES)
    ]
    if unread:
        message = unread[0].get("message", unread[0]["name"])
        raise ConfigurationError(f"This verdict cannot be overruled: {message}")
    said = (
        f"Overruled by {override.who}, up to version {override.until}: {override.why} "
        f"The gate's own verdict was {judgement.verdict}."
    )
    return dataclasses.replace(
        judgement,
        verdict="blessed",
        checks=[*judgement.checks, check("override", "skipped", override.who, None, said)],
        warnings=[said, *judgement.warnings],
        override={**dataclasses.asdict(override), "verdict": judgement.verdict},
    )
