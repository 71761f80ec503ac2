# ruff: noqa: INP001 - part of a program of its own.
"""Find secrets in a file by three of the rules that Trivy has."""

import re
from typing import Any

# The system and what packages bring is full of keys made for tests; Trivy leaves it out, too.
_LEFT_OUT = re.compile(
    r"^(?:usr/(?:share|include|lib)|lib|proc|sys|var/lib)/|/(?:site|dist)-packages/|(?:^|/)tests?/"
)
_RULES: tuple[tuple[str, str, str, str, re.Pattern[bytes]], ...] = (
    (
        "aws-access-key-id",
        "AWS",
        "CRITICAL",
        "AWS Access Key ID",
        re.compile(rb"(?<![A-Za-z0-9+/])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9+/])"),
    ),
    (
        "github-pat",
        "GitHub",
        "CRITICAL",
        "GitHub Personal Access Token",
        re.compile(rb"(?<![0-9A-Za-z])ghp_[0-9A-Za-z]{36}(?![0-9A-Za-z])"),
    ),
    (
        "private-key",
        "AsymmetricPrivateKey",
        "HIGH",
        "Asymmetric Private Key",
        re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s[A-Za-z0-9+/=\s]{16,}"),
    ),
)


def is_searched(name: str) -> bool:
    """Whether secrets are looked for in a file of that name."""
    return not _LEFT_OUT.search(name)


def secrets_in(content: bytes) -> list[dict[str, Any]]:
    """Give the secrets of a file as Trivy reports them, with stars in their place."""
    if b"\0" in content[:8000]:  # A program, an archive, a picture.
        return []
    found = []
    for rule, category, severity, title, pattern in _RULES:
        for match in pattern.finditer(content):
            line = content.count(b"\n", 0, match.start()) + 1
            stars = {
                "Number": line,
                "Content": "*" * 20,
                "IsCause": True,
                "FirstCause": True,
                "LastCause": True,
            }
            found.append(
                {
                    "RuleID": rule,
                    "Category": category,
                    "Severity": severity,
                    "Title": title,
                    "StartLine": line,
                    "EndLine": line + match[0].strip().count(b"\n"),
                    "Code": {"Lines": [stars]},
                    "Match": "*" * 20,
                }
            )
    return found
