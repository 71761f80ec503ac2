"""What a local run changes in workflow files, and which workflows an event starts."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from mlops_actions.errors import ConfigurationError
from mlops_actions.local import wiring
from mlops_actions.local.event import Event


def event(name, branch="main", activity=None):
    return Event(
        name=name, payload={}, ref="", commit="", branch=branch, activity=activity, title=""
    )


def starts(on, happened):
    return wiring.why_not(YAML(typ="safe", pure=True).load(f"on: {on}"), happened) is None


@pytest.mark.parametrize(
    ("on", "happened", "expected"),
    [
        ("push", event("push", "any"), True),
        ("[push, pull_request]", event("pull_request", activity="synchronize"), True),
        ("push", event("pull_request", activity="synchronize"), False),
        ("{push: {branches: [main]}}", event("push", "main"), True),
        ("{push: {branches: [main]}}", event("push", "feature/x"), False),
        ("{push: {branches: ['feature/*']}}", event("push", "feature/x"), True),
        ("{push: {branches: ['feature/*']}}", event("push", "feature/x/y"), False),
        ("{push: {branches: ['feature/**']}}", event("push", "feature/x/y"), True),
        ("{push: {branches: ['**', '!main']}}", event("push", "main"), False),
        ("{push: {branches-ignore: [main]}}", event("push", "main"), False),
        ("{push: {tags: ['v*']}}", event("push", "main"), False),
        ("{push: }", event("push", "main"), True),
        ("pull_request", event("pull_request", activity="labeled"), False),
        ("{pull_request: {types: [labeled]}}", event("pull_request", activity="labeled"), True),
        (
            "{repository_dispatch: {types: [drift]}}",
            event("repository_dispatch", activity="x"),
            False,
        ),
        ("{repository_dispatch: }", event("repository_dispatch", activity="x"), True),
        ("workflow_call", event("push"), False),
    ],
)
def test_filters_of_on(on, happened, expected):
    assert starts(on, happened) is expected


def test_what_act_does_not_know_is_spelt_out_and_lines_keep_their_numbers():
    text = (
        "a:\n"
        "  uses: $/.github/workflows/x.yml\n"
        "  - uses: $/actions/train # the action\n"
        '  - uses: "$/"\n'
        "  concurrency:\n"
        "    queue: max # keep all\n"
        "  other: {group: a, queue: max}\n"
        "  sha: ${{ job.workflow_sha }} ${{ job.workflow_repository }}\n"
    )
    assert wiring.spell_out(text, "our/slug", "v1", "c0ffee", "actions/a/action.yml") == (
        "a:\n"
        "  uses: our/slug/.github/workflows/x.yml@v1\n"
        "  - uses: our/slug/actions/train@v1 # the action\n"
        '  - uses: "our/slug@v1"\n'
        "  concurrency:\n"
        "    # queue: max # keep all\n"
        "  other: {group: a}\n"
        "  sha: ${{ 'c0ffee' }} ${{ 'our/slug' }}\n"
    )


WORKFLOW = """\
name: Train
on:
  workflow_call:
    outputs:
      version:
        value: ${{ jobs.verdict.outputs.version }}
jobs:
  model:
    name: Train ${{ matrix.x }}
    runs-on: ubuntu-24.04
    steps:
      - name: A step keeps its name
        run: "true"
  verdict:
    needs: model
    runs-on: ubuntu-24.04
    steps:
      - run: "true"
defaults:
  run:
    shell: bash
"""


def test_a_workflow_gets_one_job_more_that_reports_the_others(tmp_path):
    path = tmp_path / "train.yml"
    path.write_text(WORKFLOW)
    wiring.adapt(path, wiring.load(path))
    lines = path.read_text().splitlines()
    assert lines[11] == "      - name: A step keeps its name"  # Nothing before it has moved.
    data = wiring.load(path)
    assert list(data["jobs"]) == ["model", "verdict", wiring.OBSERVER]
    assert "name" not in data["jobs"]["model"]
    assert data["defaults"]["run"]["shell"] == "bash"
    observer = data["jobs"][wiring.OBSERVER]
    assert observer["needs"] == ["model", "verdict"]
    assert observer["if"] == "always()"
    environment = observer["steps"][0]["env"]
    assert environment["OUTPUT_0"] == "${{ needs.verdict.outputs.version }}"
    assert 'emit "output.version" "$OUTPUT_0"' in observer["steps"][0]["run"]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("on: push\njobs: {\n", "not valid YAML", 3),
        ("- a\n", "expected a mapping", None),
        ("on: push\njobs: {a: {runs-on: x}}\n", "write it as a block", None),
        ("on: push\njobs:\n  a:\n    uses: nonsense\n", "cannot read uses: nonsense", 4),
        (
            "on: push\njobs:\n  a:\n    steps:\n      - uses: some/one@v1\n",
            "--action some/one=DIR",
            5,
        ),
        (
            "on: push\njobs:\n  a:\n    uses: ./.github/workflows/none.yml\n",
            "there is no workflow",
            4,
        ),
    ],
)
def test_a_wrong_workflow_file_is_named_with_its_line(tmp_path, text, words, line):
    folder = tmp_path / "caller" / ".github" / "workflows"
    folder.mkdir(parents=True)
    path = folder / "w.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        wiring.lay_out(path, tmp_path / "caller", tmp_path, {})
    assert words in caught.value.message
    assert caught.value.file == str(path)
    assert caught.value.line == line


def test_labels_are_found_where_an_input_or_an_expression_names_them(tmp_path):
    folder = tmp_path / "caller" / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "w.yml").write_text(
        "on: push\n"
        "jobs:\n"
        "  a:\n"
        "    runs-on: ${{ github.event_name == 'push' && 'big-machine' || 'ubuntu-24.04' }}\n"
        "    steps:\n"
        '      - run: "true"\n'
        "  b:\n"
        "    uses: ./.github/workflows/called.yml\n"
        "    with:\n"
        "      runner: gpu\n"
        "  c:\n"
        "    strategy:\n"
        "      matrix:\n"
        "        machine: [arm]\n"
        "    runs-on: ${{ matrix.machine }}\n"
        "    steps:\n"
        '      - run: "true"\n'
    )
    (folder / "called.yml").write_text(
        "on:\n"
        "  workflow_call:\n"
        "    inputs:\n"
        '      runner: {type: string, default: \'["self-hosted", "linux"]\'}\n'
        "jobs:\n"
        "  inner:\n"
        "    runs-on: ${{ fromJSON(inputs.runner) }}\n"
        "    steps:\n"
        '      - run: "true"\n'
    )
    plan = wiring.lay_out(folder / "w.yml", tmp_path / "caller", tmp_path, {})
    assert {"big-machine", "ubuntu-24.04", "gpu", "arm", "self-hosted", "linux"} <= plan.labels


@pytest.mark.parametrize("before", ["", "      max-parallel: 3\n"])
def test_legs_of_a_matrix_run_one_after_the_other(tmp_path, before):
    path = tmp_path / "w.yml"
    path.write_text(
        "on: push\n"
        "jobs:\n"
        "  a:\n"
        "    strategy:\n"
        f"{before}"
        "      matrix:\n"
        "        x: [1, 2]\n"
        "    name: Leg ${{ matrix.x }}\n"
        "    uses: ./.github/workflows/b.yml\n"
        "  c:\n"
        "    name: Another\n"
        "    runs-on: ubuntu-24.04\n"
        "    strategy: {matrix: {x: [1]}}\n"
        "    steps:\n"
        '      - run: "true"\n'
    )
    wiring.adapt(path, wiring.load(path))
    jobs = wiring.load(path)["jobs"]
    assert jobs["a"]["strategy"] == {"max-parallel": 1, "matrix": {"x": [1, 2]}}
    assert "name" not in jobs["a"]
    assert "name" not in jobs["c"]
    assert list(jobs) == ["a", "c", wiring.OBSERVER]
