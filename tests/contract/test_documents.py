"""What the documents say is so: tables, commands, links, versions, the published schema."""

import json
import re
import runpy
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sources import ROOT

from mlops_actions import __version__, cli, config
from mlops_actions.gate import decision, smoke
from mlops_actions.validate import schema

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cog(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-PI", "tools", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_tables_are_current():
    answer = cog(*DOCUMENTS)
    assert answer.returncode == 0, f"run tools/lint --fix\n{answer.stdout}{answer.stderr}"


def test_a_stale_table_is_seen(tmp_path):
    page = ROOT / "docs/workflows/train.md"
    stale = tmp_path / "train.md"
    stale.write_text(page.read_text(encoding="utf-8").replace("`force`", "`froce`"))
    assert cog(stale).returncode != 0


def test_published_schema_is_current():
    published = (ROOT / "mlops.schema.json").read_text(encoding="utf-8")
    assert published == config.json_schema(), "run tools/lint --fix"
    assert json.loads(published)["$schema"].endswith("2020-12/schema")


def unknown_commands(text: str, targets: set[str]) -> list[str]:
    """Commands in a document's console blocks that nothing would run."""
    found = []
    for line in "".join(CONSOLE.findall(text)).splitlines():
        words = line.split()
        if words[0] == "make" and words[1] not in targets:
            found.append(line)
        if words[0] == "scripts/mlops-actions":
            arguments = words[3:] if words[1] == "--directory" else words[1:]
            if arguments[0] not in cli.COMMANDS:
                found.append(line)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(path: Path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    assert unknown_commands(text, targets) == []
    assert set(re.findall(r"`make ([\w-]+)`", text)) <= targets


def test_a_command_that_does_not_exist_is_seen():
    block = "```console\nmake test\nmake demmo\nscripts/mlops-actions lokal push\n```\n"
    assert unknown_commands(block, {"test"}) == ["make demmo", "scripts/mlops-actions lokal push"]


def unsigned(text: str) -> list[str]:
    """Commands that verify an attestation and name no signer: gh then takes the caller for it."""
    commands = re.findall(r"gh attestation verify (?:[^`\n\\]|\\\n)+", text)
    return [
        one for one in commands if "--signer-workflow " not in one or "--source-ref " not in one
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_attestations_are_verified_with_their_signer(path: Path):
    assert unsigned(path.read_text(encoding="utf-8")) == []


def test_a_verification_without_a_signer_is_seen():
    flags = "--source-ref refs/heads/main --signer-workflow a/b/.github/workflows/c.yml"
    assert unsigned("`gh attestation verify` is GitHub's client.") == []
    assert unsigned(f"gh attestation verify x --repo a/b \\\n    {flags}\n") == []
    assert len(unsigned(f"gh attestation verify x --repo a/b\n{flags}")) == 1
    assert len(unsigned("`gh attestation verify x --repo a/b`")) == 1


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        file = (path.parent / target).resolve()
        assert file.exists(), target


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def test_lock_file_names_no_registry():
    lock = json.loads((ROOT / "tools/package-lock.json").read_text(encoding="utf-8"))
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_whole_licence():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# docs/configuration.md: whoever copies an example has a file that works.

CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    fenced = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```$", CONFIGURATION, re.MULTILINE | re.DOTALL
    )
    return [textwrap.dedent(text) for _, text in fenced]


def test_each_example_of_the_configuration_is_accepted(tmp_path: Path):
    whole, data_schema, shortest = examples("yaml")
    for number, text in enumerate((whole, shortest)):
        path = tmp_path / str(number) / "mlops.yaml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        loaded = config.load(path)
        assert decision.choose(loaded)
        assert smoke.metric_of(loaded) or loaded.config.smoke is None
    path = tmp_path / "schema.yaml"
    path.write_text(data_schema, encoding="utf-8")
    assert "origin" in schema.load(path).columns


def test_the_whole_file_has_every_section_and_says_what_is_needed():
    whole, *_ = examples("yaml")
    sections = {field.alias or name: field for name, field in config.Config.model_fields.items()}
    written = dict(re.findall(r"^([a-z_-]+):(.*)$", whole, re.MULTILINE))
    assert set(written) == set(sections)
    needed = {name for name, field in sections.items() if field.is_required()} | {"labels"}
    assert {name for name, rest in written.items() if "# Needed" in rest} == needed


def test_the_python_of_the_configuration_works(tmp_path: Path):
    model_schema, training, sample, answer = examples("python")
    path = tmp_path / "example.py"
    path.write_text(model_schema, encoding="utf-8")
    names = runpy.run_path(str(path))
    assert set(names["Flights"].to_schema().columns) == {"flight_id", "distance", "late"}
    compile(training, "training", "exec")
    compile(sample, "sample", "exec")

    class Model:
        @staticmethod
        def predict_proba(frame: pl.DataFrame) -> Any:
            return np.column_stack([1 - frame["x"], frame["x"]])

    path.write_text(answer, encoding="utf-8")
    names = runpy.run_path(str(path), {"FEATURES": ["x"]})
    found = names["predict"](Model(), pl.DataFrame({"x": [0.2, 0.3]}))
    assert list(found["prediction"]) == [0, 1]
    assert list(found["probability_0"]) == [0.8, 0.7]


def test_the_commands_of_the_configuration_exist():
    text = "".join(f"```console\n{block}```\n" for block in examples("console"))
    assert text.count("scripts/mlops-actions") == 3
    assert unknown_commands(text, set()) == []


def test_defaults_in_the_configuration_are_the_codes():
    sections = {"checks": config.DataChecks, "train": config.Train}
    for name, model in sections.items():
        _, _, rest = CONFIGURATION.partition("**`checks`**" if name == "checks" else "## train")
        rows = dict(
            re.findall(r"^\| `(\w+)` \| (\S+) \|", rest.partition("\n## ")[0], re.MULTILINE)
        )
        defaults = {
            key: f"`{json.dumps(field.default)}`".replace('"', "")
            if isinstance(field.default, bool | int | str)
            else "none"
            for key, field in model.model_fields.items()
        }
        assert rows == {key: default for key, default in defaults.items() if key != "command"}


CHANGELOG = """
## [Unreleased]

### Added
- More.

## [1.1.0] - 2026-12-01

### Added
- Something.

## [1.0.0] - 2026-11-01

- First.

[Unreleased]: https://example.com
"""


@pytest.fixture
def notes():
    return runpy.run_path(str(ROOT / "tools/release-notes"))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.1.0", "### Added\n- Something.\n"),
        ("1.0.0", "- First.\n"),
        ("1.0", None),
        ("1x1x0", None),
    ],
)
def test_release_notes_are_the_versions_own(notes, version: str, expected: str | None):
    assert notes["section"](CHANGELOG, version) == expected


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "1.2.3; rm -rf /"])
def test_release_refuses_what_is_not_a_version(notes, version: str):
    assert "is not a version" in notes["problems"](version)[0]


def test_release_refuses_another_branch(notes, monkeypatch):
    monkeypatch.setenv("GITHUB_REF", "refs/heads/feature")
    refusal = "a version is released from main; this run is on refs/heads/feature"
    assert refusal in notes["problems"]("1.2.3", "main")
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    assert not [one for one in notes["problems"]("1.2.3", "main") if "released from" in one]


def test_release_refuses_another_version_than_the_code_names(notes):
    problems = "\n".join(notes["problems"]("999.0.0"))
    for place in ("pyproject.toml", "__init__.py", "CHANGELOG.md"):
        assert place in problems
