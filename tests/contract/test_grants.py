"""A called job has no more rights than its caller grants, and asking for more stops the run."""

from pathlib import Path

import grants
import pytest
from ruamel.yaml import YAML
from sources import PUBLIC_WORKFLOWS, ROOT, Source

WORKFLOWS = {source.stem: source for source in PUBLIC_WORKFLOWS}
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
CALLER_LINES = 30


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_grant_what_is_asked(path: Path):
    for example in grants.examples(path.read_text(encoding="utf-8")):
        assert list(grants.caller_problems(example, WORKFLOWS)) == []


@pytest.mark.parametrize("stem", WORKFLOWS)
def test_each_workflow_has_a_page_with_an_example(stem: str):
    page = ROOT / "docs" / "workflows" / f"{stem}.md"
    shown = [
        job.get("uses", "")
        for example in grants.examples(page.read_text(encoding="utf-8"))
        for job in example["jobs"].values()
    ]
    assert any(f"/{stem}.yml@" in uses for uses in shown)
    text = page.read_text(encoding="utf-8")
    for heading in ("Usage", "Inputs", "Secrets", "Outputs", "Required caller permissions"):
        assert f"\n## {heading}\n" in text


def test_template_grants_what_is_asked(generated: Path):
    callers = sorted((generated / ".github/workflows").glob("*.yml"))
    called = set()
    for path in callers:
        text = path.read_text(encoding="utf-8")
        document = YAML(typ="rt").load(text)
        assert text.count("\n") <= CALLER_LINES, path.name
        assert list(grants.caller_problems(document, WORKFLOWS)) == [], path.name
        for job in document["jobs"].values():
            found = grants._OURS.fullmatch(job["uses"])
            assert found, f"{path.name}: a caller only calls ours"
            called.add(found[1])
    assert called == set(WORKFLOWS)


CALLEE = Source(
    ".github/workflows/train.yml",
    "on:\n  workflow_call:\n    inputs:\n      config: {}\n"
    "jobs:\n  model:\n    permissions: {contents: read}\n"
    "  verdict:\n    permissions: {contents: write, pull-requests: write}\n",
)
OUTER = Source(
    ".github/workflows/outer.yml",
    "jobs:\n  a:\n    uses: $/.github/workflows/train.yml\n    permissions: {issues: read}\n",
)
KNOWN = {"train": CALLEE, "outer": OUTER}


def test_union_reaches_into_nested_calls():
    assert grants.needed(OUTER, KNOWN) == {
        "issues": "read",
        "contents": "write",
        "pull-requests": "write",
    }


GOOD = """
permissions: {}
jobs:
  train:
    uses: mlops-actions/mlops-actions/.github/workflows/train.yml@main
    permissions: {contents: write, pull-requests: write}
"""


def test_a_right_caller_passes():
    assert list(grants.caller_problems(YAML().load(GOOD), KNOWN)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (", pull-requests: write", ""),
        ("contents: write", "contents: read"),
        ("contents: write", "contents: write, id-token: write"),
        ("train.yml", "gone.yml"),
        ("@main", "@main\n    with: {konfig: x}"),
        ("@main", "@main\n    secrets: inherit"),
        ("@main", "@main\n    secrets: {ENV: x}"),
        ("permissions: {}", ""),
    ],
)
def test_a_wrong_caller_is_seen(old: str, new: str):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    assert list(grants.caller_problems(YAML().load(text), KNOWN)) != []
