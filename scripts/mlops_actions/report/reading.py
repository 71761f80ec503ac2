"""Values of documents, read with distrust.

Some documents were written in a job that also ran user code. So a value of the wrong type is left
out instead of trusted, every text becomes one printable line, and lists have an end.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST_TEXT = 400
_MOST = 2_000  # Items of one list.
_DRAWABLE = 1e15  # A larger number has no place on an axis.
_SPACE = re.compile(r"\s+")
# Controls, and what would turn the direction of the text around it.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def line(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Make one printable line of a value."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", str(value)).strip())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def text(value: object) -> str | None:
    """Read a scalar as one line; anything else is ``None``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        try:
            return line(value) or None
        except ValueError:  # An integer of thousands of digits.
            return None
    return plain_number(value) if isinstance(value, float) else None


def number(value: object) -> float | None:
    """Read a number, also one that JSON has no word for."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(str(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def whole(value: object) -> int | None:
    """Read a count."""
    found = number(value)
    return int(found) if found is not None and math.isfinite(found) else None


def mapping(value: object) -> Mapping[str, Any]:
    """Read an object; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Read a list, up to its 2,000th item; anything else is an empty one."""
    return list(value[:_MOST]) if isinstance(value, (list, tuple)) else []


def objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Read the objects of a list."""
    return (item for item in items(value) if isinstance(item, Mapping))


def plain_number(value: float, decimals: int | None = None) -> str:
    """Write a number for people: ``0.0123``, ``48,211``, ``NaN``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if decimals is None:
        if value == round(value) and abs(value) < 1e15:  # noqa: PLR2004 - exact in a float.
            return f"{value:,.0f}"
        if not 1e-4 <= abs(value) < 1e6:  # noqa: PLR2004
            return f"{value:.3g}"
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")
    shown = f"{value:,.{decimals}f}"
    return shown.removeprefix("-") if float(shown.replace(",", "")) == 0 else shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its bounds, in the metric's units."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, value: object) -> Interval | None:
        """Read an interval; a missing bound is NaN, never the estimate."""
        found = mapping(value)
        estimate = number(found.get("estimate"))
        if estimate is None:
            return None
        low, high = number(found.get("low")), number(found.get("high"))
        return cls(
            estimate=estimate,
            low=math.nan if low is None else low,
            high=math.nan if high is None else high,
        )

    @property
    def decimals(self) -> int:
        """Enough decimals for at least five steps from low to high."""
        width = self.high - self.low
        if not (math.isfinite(width) and width > 0):
            return 4
        return min(8, max(0, -math.floor(math.log10(width / 5))))

    @property
    def finite(self) -> bool:
        """Whether it can be drawn."""
        return all(math.isfinite(value) for value in (self.estimate, self.low, self.high))

    def __str__(self) -> str:
        """Give ``0.7412 (0.7301 to 0.7523)``."""
        if math.isnan(self.low) and math.isnan(self.high):
            return f"{plain_number(self.estimate)} (no interval)"
        estimate, low, high = (
            plain_number(value, self.decimals) for value in (self.estimate, self.low, self.high)
        )
        return f"{estimate} ({low} to {high})"


def shown(value: object) -> str | None:
    """Read a scalar as one line, a count with its thousands apart."""
    found = whole(value) if isinstance(value, int) and not isinstance(value, bool) else None
    return text(value) if found is None else f"{found:,}"


def moment(value: object) -> str | None:
    """Write a moment for people: ``2013-09-30 23:00 UTC``; what is none stays as it is."""
    shown = text(value)
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(.*))?", shown or "")
    if not found:
        return shown
    day, clock, zone = found.groups()
    zone = {"+00:00": " UTC", "Z": " UTC"}.get(zone or "", zone or "")
    return f"{day} {clock}{zone}" if clock else day


def duration(seconds: float) -> str:
    """Write seconds for people: ``42.3 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def by_name(value: object) -> dict[str, Mapping[str, Any]]:
    """Read the objects of an object, by name."""
    pairs = list(mapping(value).items())[:_MOST]
    return {name: item for name, item in pairs if isinstance(item, Mapping)}


def points(values: object, key: str) -> tuple[float, ...]:
    """Read one number of each object of a list; what is none is NaN."""
    found = (number(item.get(key)) for item in objects(values))
    return tuple(math.nan if value is None else value for value in found)


def numbers(values: object) -> tuple[float, ...]:
    """Read a list of numbers; what is none is NaN."""
    found = (number(value) for value in items(values))
    return tuple(math.nan if value is None else value for value in found)


def drawable(values: Iterator[float] | tuple[float, ...]) -> bool:
    """Whether all numbers have a place on an axis; NaN leaves a gap."""
    return all(abs(value) < _DRAWABLE for value in values if not math.isnan(value))
