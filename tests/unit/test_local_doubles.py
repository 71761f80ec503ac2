"""The doubles of others' actions, each run as a step runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from mlops_actions import evidence
from mlops_actions.local.wiring import CHECKOUT, DOUBLES


@pytest.fixture
def runner(tmp_path):
    for name in ("workspace", "temp", "artifacts"):
        (tmp_path / name).mkdir()
    return tmp_path


def step(runner, program, **inputs):
    output = runner / "output"
    output.write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_WORKSPACE": str(runner / "workspace"),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ID": "100",
        "MLOPS_LOCAL_ARTIFACTS": str(runner / "artifacts"),
        **inputs,
    }
    done = subprocess.run(
        [sys.executable, DOUBLES / program],
        env=environment,
        cwd=runner / "workspace",
        capture_output=True,
        text=True,
        check=False,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, outputs


def upload(runner, paths, **inputs):
    defaults = {
        "NAME": "a",
        "PATHS": paths,
        "IF_NONE": "warn",
        "RETENTION": "0",
        "OVERWRITE": "false",
        "HIDDEN": "false",
        "ARCHIVE": "true",
    }
    return step(runner, "actions/upload-artifact/upload.py", **defaults | inputs)


def download(runner, **inputs):
    empty = dict.fromkeys(["NAME", "IDS", "PATTERN", "RUN", "REPOSITORY"], "")
    defaults = {**empty, "FOLDER": "", "MERGE": "false", "RAW": "false"}
    return step(runner, "actions/download-artifact/download.py", **defaults | inputs)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def tree(runner):
    for name in ("out/a.txt", "out/b.json", "out/deep/c.txt", "out/.hidden", "other/d.txt"):
        path = runner / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return runner


@pytest.mark.parametrize(
    ("paths", "options", "expected"),
    [
        ("out", {}, ["a.txt", "b.json", "deep/c.txt"]),
        ("out/", {"HIDDEN": "true"}, [".hidden", "a.txt", "b.json", "deep/c.txt"]),
        ("out/a.txt", {}, ["a.txt"]),
        ("out/*.txt", {}, ["a.txt"]),
        ("out/**/*.txt", {}, ["a.txt", "deep/c.txt"]),
        ("out\nother", {}, ["other/d.txt", "out/a.txt", "out/b.json", "out/deep/c.txt"]),
        ("out\n!out/deep", {}, ["a.txt", "b.json"]),
        ("out\n!out/**/*.txt", {}, ["b.json"]),
        ("./out/../out/d*", {}, ["deep/c.txt"]),
    ],
)
def test_upload_takes_what_the_paths_name(tree, paths, options, expected):
    code, said, outputs = upload(tree, paths, **options)
    assert code == 0, said
    assert said.startswith("double of actions/upload-artifact")
    assert files(tree / "artifacts" / "a") == expected
    assert len(outputs["artifact-digest"]) == 64
    assert outputs["artifact-id"].isdigit()


@pytest.mark.parametrize("workflow", ["quality-gate", "train"])
def test_a_candidate_arrives_with_its_hidden_files(runner, workflow):
    """The model's digest is over all of them: without one it is another model."""
    path = CHECKOUT / ".github" / "workflows" / f"{workflow}.yml"
    steps = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["jobs"]["model"]["steps"]
    (options,) = [
        step["with"] for step in steps if step["uses"].startswith("actions/upload-artifact@")
    ]
    candidate = runner / "temp" / "mlops" / "candidate"
    assert options["path"] == "${{ runner.temp }}/mlops/candidate"
    model = candidate / "run" / "model"
    for name in ("MLmodel", ".gitattributes", "code/.keep", ".cache/a"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    hidden = str(options.get("include-hidden-files", False)).lower()
    code, said, _ = upload(runner, str(candidate), HIDDEN=hidden)
    assert code == 0, said
    arrived = runner / "artifacts" / "a" / "run" / "model"
    assert evidence.sha256_tree(arrived) == evidence.sha256_tree(model)


def test_a_second_upload_of_a_name_is_refused_unless_it_overwrites(tree):
    assert upload(tree, "out/a.txt")[0] == 0
    code, said, _ = upload(tree, "out/b.json")
    assert code == 1
    assert "409" in said
    assert files(tree / "artifacts" / "a") == ["a.txt"]
    assert upload(tree, "out/b.json", OVERWRITE="true")[0] == 0
    assert files(tree / "artifacts" / "a") == ["b.json"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"IF_NONE": "error"}, 1, "::error::No files"),
        ({"IF_NONE": "warn"}, 0, "::warning::No files"),
        ({"IF_NONE": "ignore"}, 0, "No files"),
        ({"IF_NONE": "maybe"}, 1, "if-no-files-found"),
        ({"NAME": "../a"}, 1, "not valid"),
        ({"NAME": ""}, 1, "not valid"),
        ({"OVERWRITE": "yes"}, 1, "true or false"),
        ({"RETENTION": "long"}, 1, "retention-days"),
    ],
)
def test_upload_without_files_or_with_a_wrong_input(tree, options, code, words):
    paths = "out" if "OVERWRITE" in options else "nothing/*"
    done, said, outputs = upload(tree, paths, **options)
    assert done == code
    assert words in said
    assert outputs == {}
    assert list((tree / "artifacts").iterdir()) == []


def test_download_by_name_by_pattern_and_all(tree):
    upload(tree, "out/a.txt", NAME="model-a")
    upload(tree, "other/d.txt", NAME="model-b")
    upload(tree, "out/b.json", NAME="report")
    workspace = tree / "workspace"

    code, said, outputs = download(tree, NAME="model-a", FOLDER="one")
    assert code == 0, said
    assert files(workspace / "one") == ["a.txt"]
    assert outputs["download-path"] == str(workspace / "one")
    download(tree, PATTERN="model-*", FOLDER="two")
    assert files(workspace / "two") == ["model-a/a.txt", "model-b/d.txt"]
    download(tree, PATTERN="model-*", FOLDER="flat", MERGE="true")
    assert files(workspace / "flat") == ["a.txt", "d.txt"]
    download(tree, FOLDER="all")
    assert files(workspace / "all") == ["model-a/a.txt", "model-b/d.txt", "report/b.json"]

    code, said, _ = download(tree, NAME="none")
    assert code == 1
    assert "Artifact not found for name: none" in said
    assert download(tree, NAME="report", RUN="99")[0] == 1
    assert download(tree, NAME="report", RUN="100", FOLDER="three")[0] == 0
