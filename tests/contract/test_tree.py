"""The rules hold in every workflow and action of the repository."""

import re
from pathlib import Path

import pytest
from rules import RULES
from sources import ACTIONS, PUBLIC_WORKFLOWS, ROOT, SOURCES, WORKFLOWS, Source


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str, source: Source):
    assert list(RULES[name](source)) == []


def test_there_is_something_to_check():
    assert {"quality-gate", "train"} <= {source.stem for source in PUBLIC_WORKFLOWS}
    assert {"ci", "release"} <= {source.stem for source in WORKFLOWS}
    assert {"validate", "train", "score", "gate", "publish"} <= {s.stem for s in ACTIONS}
    assert "action.yml" in {source.name for source in ACTIONS}
    assert all(source.name.endswith(".yml") for source in SOURCES)


def pins(sources: list[Source]) -> dict[str, set[tuple[str, str]]]:
    """The pins of each of others' actions: commit and version comment."""
    found: dict[str, set[tuple[str, str]]] = {}
    for source in sources:
        for number, uses in source.uses:
            action, at, commit = uses.partition("@")
            if at and not uses.startswith("$/"):
                repository = "/".join(action.split("/")[:2])
                version = source.line(number).rpartition("# ")[2].strip()
                found.setdefault(repository, set()).add((commit, version))
    return found


def test_one_pin_an_action():
    several = {name: found for name, found in pins(SOURCES).items() if len(found) > 1}
    assert several == {}


def test_one_pin_an_action_catches_two():
    text = (
        "on: push\njobs:\n  a:\n    steps:\n"
        "      - uses: actions/cache/save@{} # v1.0.0\n"
        "      - uses: actions/cache/restore@{} # v1.0.1\n"
    ).format("a" * 40, "b" * 40)
    found = pins([Source(".github/workflows/x.yml", text)])
    assert found == {"actions/cache": {("a" * 40, "v1.0.0"), ("b" * 40, "v1.0.1")}}


def test_one_uv():
    """Dependabot sees the requirement, and none of the inputs."""
    text = (ROOT / "tools/requirements/uv.txt").read_text(encoding="utf-8")
    required = re.search(r"^uv==(\S+)", text, re.MULTILINE)[1]
    given = {
        step.get("with", {}).get("version")
        for source in SOURCES
        for step in source.steps
        if step.get("uses", "").startswith("astral-sh/setup-uv@")
    }
    assert given == {required}


def test_documents_name_the_same_pins():
    """An example that a reader copies is as current as what we run."""
    known = pins(SOURCES)
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = path.read_text(encoding="utf-8")
        for action, commit, version in re.findall(
            r"uses: ([\w.-]+/[\w.-]+)[\w/.-]*@([0-9a-f]{40}) # (v[\d.]+)", text
        ):
            if action in known:
                assert {(commit, version)} == known[action], path.name


def without_double(sources: list[Source], doubles: Path) -> list[str]:
    """Others' actions that `mlops-actions local` could not stand in for."""
    used = {
        uses.partition("@")[0]
        for source in sources
        for _, uses in source.uses
        if not uses.startswith("$/")
    }
    return sorted(action for action in used if not (doubles / action / "action.yml").exists())


def test_others_actions_have_doubles():
    doubles = ROOT / "scripts/mlops_actions/local/doubles"
    assert without_double(PUBLIC_WORKFLOWS + ACTIONS, doubles) == []


def test_an_action_without_a_double_is_seen(tmp_path):
    text = f"jobs:\n  a:\n    steps:\n      - uses: some/action@{'a' * 40} # v1.0.0\n"
    assert without_double([Source(".github/workflows/x.yml", text)], tmp_path) == ["some/action"]


UNPACKS = re.compile(r"\b(extractall|extract|unpack_archive)\(")


def test_nothing_of_ours_unpacks_an_archive():
    """A name with `..` in one leads nowhere: artifacts are GitHub's own actions' to unpack."""
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "scripts").rglob("*.py")
        if UNPACKS.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert UNPACKS.search("archive.extractall(folder)")
