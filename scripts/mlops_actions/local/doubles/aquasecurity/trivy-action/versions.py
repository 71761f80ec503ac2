# ruff: noqa: INP001 - part of a program of its own.
"""Compare versions of Debian's packages and of Python's."""

import itertools
import re


def _order(character: str) -> tuple[int, str]:
    # A tilde comes before the end, letters before everything else.
    if character == "~":
        return -1, ""
    return (0 if not character else 1 if character.isalpha() else 2), character


def _compare_parts(one: str, other: str) -> int:
    pairs = itertools.zip_longest(
        re.findall(r"(\D*)(\d*)", one), re.findall(r"(\D*)(\d*)", other), fillvalue=("", "")
    )
    for (text, number), (other_text, other_number) in pairs:
        for left, right in itertools.zip_longest(text, other_text, fillvalue=""):
            if _order(left) != _order(right):
                return -1 if _order(left) < _order(right) else 1
        if int(number or 0) != int(other_number or 0):
            return -1 if int(number or 0) < int(other_number or 0) else 1
    return 0


def debian_is_less(one: str, other: str) -> bool:
    """Whether a Debian version is lower. Source: deb-version(7)."""
    (epoch, upstream, revision), (other_epoch, other_upstream, other_revision) = (
        _parts(one),
        _parts(other),
    )
    if epoch != other_epoch:
        return epoch < other_epoch
    order = _compare_parts(upstream, other_upstream) or _compare_parts(revision, other_revision)
    return order < 0


def _parts(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (int(epoch), upstream, revision) if dash else (int(epoch), rest, "")


def python_key(version: str) -> tuple[object, ...]:
    """Give a key by which Python versions are ordered, pre-releases before the release."""
    found = re.match(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)(.*)", version.strip().lower())
    if not found:
        return (0, (), 0)
    numbers = [int(part) for part in found[2].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    early = bool(re.match(r"[._-]?(?:a|b|c|rc|alpha|beta|pre|dev)", found[3]))
    return int(found[1] or 0), tuple(numbers), 0 if early else 1


def is_affected(kind: str, version: str, introduced: str | None, fixed: str | None) -> bool:
    """Whether a version lies between the one that brought a flaw and the one that repaired it."""
    if kind == "debian":
        return fixed is None or debian_is_less(version, fixed)
    key = python_key(version)
    if introduced is not None and key < python_key(introduced):
        return False
    return fixed is None or key < python_key(fixed)
