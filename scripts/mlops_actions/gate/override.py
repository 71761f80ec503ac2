"""A verdict that someone overruled: possible, and never silent."""

from __future__ import annotations

import dataclasses

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


def overrule(judgement: Judgement, override: Override) -> Judgement:
    """Return the judgement with the verdict ``blessed``, and everything about it on record.

    A verdict that needs none stays as it is. One on a candidate whose own predictions do not fit
    cannot be overruled: nothing is known of that model. Nor can the policy overrule the approval
    that a change of it needs.
    """
    if judgement.verdict in {"blessed", "unchanged"}:
        return judgement
    unread = [
        item
        for item in judgement.checks
        if (item["status"] == "fail" and item.get("side") == "candidate")
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
