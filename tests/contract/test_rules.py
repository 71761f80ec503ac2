"""Each rule is shown a violation, and must catch it; what is right passes all of them."""

import textwrap

import pytest
from rules import RULES
from sources import Source

WORKFLOW, ACTION = ".github/workflows/train.yml", "actions/train/action.yml"
CI = ".github/workflows/ci.yml"
SHA = "3d3c42e5aac5ba805825da76410c181273ba90b1"


def job(body: str, name: str = "model") -> str:
    return f"jobs:\n  {name}:\n" + textwrap.indent(textwrap.dedent(body), "    ")


def uses(stage: str) -> str:
    return f"steps:\n  - uses: $/actions/{stage}\n"


def scan(**options: str) -> str:
    """A step that scans as it should, but for these options."""
    trusted = {key: f"${{{{ runner.temp }}}}/{key}" for key in ("trivy-config", "trivyignores")}
    given = {**trusted, "cache-dir": "${{ runner.temp }}/trivy", "cache": "false", **options}
    lines = "".join(f"      {key}: {value}\n" for key, value in given.items())
    return f"steps:\n  - uses: aquasecurity/trivy-action@{SHA} # v0.36.0\n    with:\n{lines}"


def login(password: str) -> str:
    uses = f"uses: docker/login-action@{SHA} # v4.1.0"
    return f"steps:\n  - {uses}\n    with:\n      password: ${{{{ {password} }}}}\n"


def steps(body: str) -> str:
    return job("steps:\n" + textwrap.indent(textwrap.dedent(body), "  "))


def composite(body: str) -> str:
    return "runs:\n  using: composite\n  steps:\n" + textwrap.indent(textwrap.dedent(body), "    ")


HANDED = "    with:\n      tracking-token: ${{ secrets.MLFLOW_WRITE_TOKEN }}\n"
VIOLATIONS = [
    ("run_holds_no_expression", WORKFLOW, steps("- run: echo ${{ inputs.name }}")),
    ("run_holds_no_expression", ACTION, composite("- run: echo ${{ inputs.name }}")),
    ("run_is_one_command", WORKFLOW, steps("- run: |\n    one\n    two")),
    ("run_is_one_command", WORKFLOW, steps("- run: one && two")),
    ("run_is_one_command", ACTION, composite("- run: one; two")),
    ("run_is_one_command", ACTION, composite("- run: one | two")),
    ("ours_by_self_reference", WORKFLOW, steps("- uses: ./actions/train")),
    ("ours_by_self_reference", ACTION, composite("- uses: ../train")),
    ("ours_by_self_reference", WORKFLOW, steps("- uses: mlops-actions/mlops-actions@v1")),
    (
        "ours_by_self_reference",
        WORKFLOW,
        job(f"uses: mlops-actions/mlops-actions/.github/workflows/train.yml@{SHA} # v1.0.0"),
    ),
    ("ours_by_self_reference", WORKFLOW, steps("- uses: $/actions/train@v1")),
    ("others_are_pinned", WORKFLOW, steps("- uses: actions/checkout@v7 # v7.0.1")),
    ("others_are_pinned", WORKFLOW, steps(f"- uses: actions/checkout@{SHA[:39]} # v7.0.1")),
    ("others_are_pinned", WORKFLOW, steps(f"- uses: actions/checkout@{SHA}")),
    ("others_are_pinned", ACTION, composite(f"- uses: actions/checkout@{SHA} # v7")),
    ("others_are_pinned", WORKFLOW, steps("- uses: docker://alpine:3")),
    ("others_are_pinned", WORKFLOW, job("uses: a/b/.github/workflows/c.yml@main # v1.0.0")),
    (
        "no_known_malicious_commit",
        WORKFLOW,
        steps("- uses: actions/checkout@70379aad1a8b40919ce8b382d3cd7d0315cde1d0 # v6.0.2"),
    ),
    ("checkout_keeps_no_credentials", WORKFLOW, steps(f"- uses: actions/checkout@{SHA}")),
    (
        "checkout_keeps_no_credentials",
        ACTION,
        composite(f"- uses: actions/checkout@{SHA}\n  with:\n    persist-credentials: true"),
    ),
    ("callers_environment_is_left_alone", ACTION, composite("- run: echo A=1 >> $GITHUB_ENV")),
    ("callers_environment_is_left_alone", ACTION, composite("- run: echo /x >> $GITHUB_PATH")),
    ("no_dangerous_trigger", WORKFLOW, "on: [pull_request_target]"),
    ("public_workflows_are_only_called", WORKFLOW, "on:\n  workflow_call:\n  push:"),
    ("secrets_are_named", WORKFLOW, job("uses: $/.github/workflows/a.yml\nsecrets: inherit")),
    ("no_rights_on_top", WORKFLOW, "on: push"),
    ("no_rights_on_top", WORKFLOW, "permissions:\n  contents: read"),
    ("no_rights_on_top", WORKFLOW, "permissions: read-all"),
    ("each_grant_has_a_reason", WORKFLOW, job("permissions:\n  contents: read")),
    ("each_grant_has_a_reason", WORKFLOW, job("permissions: write-all")),
    ("jobs_are_complete", WORKFLOW, job("runs-on: ubuntu-24.04\ntimeout-minutes: 5")),
    ("jobs_are_complete", WORKFLOW, job("name: A\nruns-on: ubuntu-24.04")),
    ("jobs_are_complete", WORKFLOW, job("name: A\nruns-on: ubuntu-latest\ntimeout-minutes: 5")),
    ("jobs_are_complete", WORKFLOW, job("uses: $/.github/workflows/a.yml")),
    *(
        ("user_code_has_no_rights", WORKFLOW, job(f"permissions:\n  {scope}: write\n{step}", name))
        for name in ("model", "verdict", "anything")
        for scope in ("contents", "id-token")
        for step in (uses("train"), uses("build"))
    ),
    ("user_code_has_no_rights", CI, job(f"permissions:\n  checks: write\n{uses('score')}")),
    ("only_publish_writes_to_mlflow", WORKFLOW, job(f"{uses('train')}{HANDED}")),
    ("only_publish_writes_to_mlflow", WORKFLOW, job(f"{uses('gate')}{HANDED}", "verdict")),
    (
        "only_publish_writes_to_mlflow",
        WORKFLOW,
        job(f"env:\n  TOKEN: ${{{{ secrets.MLFLOW_WRITE_TOKEN }}}}\n{uses('publish')}"),
    ),
    (
        "jobs_with_rights_restore_no_cache",
        WORKFLOW,
        job("permissions:\n  contents: write\nsteps:\n  - uses: astral-sh/setup-uv@v1"),
    ),
    (
        "jobs_with_rights_restore_no_cache",
        WORKFLOW,
        job("permissions:\n  contents: write\nsteps:\n  - uses: actions/cache/restore@v1"),
    ),
    *(
        ("the_token_of_the_run_goes_to_ghcr_only", WORKFLOW, job(login(password)))
        for password in (
            "secrets.REGISTRY_PASSWORD || github.token",
            "secrets.GITHUB_TOKEN",
            "inputs.registry != 'ghcr.io' && github.token",
            "inputs.registry == 'ghcr.io' && github.token || github.token",
        )
    ),
    ("trivy_obeys_no_change", WORKFLOW, job("permissions: {issues: write}\n" + scan())),
    ("trivy_obeys_no_change", WORKFLOW, job(scan(trivyignores=".trivyignore"))),
    ("trivy_obeys_no_change", WORKFLOW, job(scan(**{"trivy-config": ""}))),
    ("trivy_obeys_no_change", WORKFLOW, job(scan(cache="true"))),
    ("trivy_obeys_no_change", WORKFLOW, job(scan(severity="CRITICAL"))),
    ("verdict_always_speaks", WORKFLOW, job(uses("train")) + "  verdict:\n    needs: model\n"),
    (
        "verdict_always_speaks",
        WORKFLOW,
        f"jobs:\n  verdict:\n    if: always()\n{job(uses('train'), 'any').removeprefix('jobs:')}",
    ),
    ("verdict_always_speaks", WORKFLOW, job(uses("score"), "anything")),
    ("writers_take_turns", WORKFLOW, job("concurrency: mlops-x")),
    ("writers_take_turns", WORKFLOW, job("concurrency:\n  group: mlops-x")),
    ("writers_take_turns", WORKFLOW, job("concurrency:\n  group: train\n  queue: max")),
    (
        "writers_take_turns",
        WORKFLOW,
        job("concurrency:\n  group: mlops-${{ github.workflow }}\n  queue: max"),
    ),
    (
        "pass_needs_every_job",
        ".github/workflows/ci.yml",
        "jobs:\n  check: {}\n  test: {}\n  pass:\n    if: always()\n    needs: [check]",
    ),
    ("pass_needs_every_job", ".github/workflows/ci.yml", "jobs:\n  check: {}"),
    ("names_are_kebab_case", ACTION, "inputs:\n  data_path: {}"),
    ("names_are_kebab_case", WORKFLOW, "on:\n  workflow_call:\n    outputs:\n      runId: {}"),
    ("names_are_kebab_case", WORKFLOW, "on:\n  workflow_call:\n    secrets:\n      token: {}"),
    ("descriptions_are_sentences", ACTION, "inputs:\n  config:\n    description: The file"),
    ("descriptions_are_sentences", ACTION, "inputs:\n  config: {}\ndescription: Trains."),
    ("descriptions_are_sentences", ACTION, "description: Trains"),
    (
        "descriptions_are_sentences",
        WORKFLOW,
        "on:\n  workflow_call:\n    secrets:\n      ENV:\n        description: Lines",
    ),
    ("inputs_are_complete", ACTION, "inputs:\n  a:\n    description: A."),
    ("inputs_are_complete", ACTION, "inputs:\n  a:\n    default: b\n    description: A."),
    ("inputs_are_complete", ACTION, "inputs:\n  a:\n    description: A.\n    default: true"),
    (
        "inputs_are_complete",
        ACTION,
        "inputs:\n  a:\n    description: A.\n    required: true\n    default: b",
    ),
    (
        "inputs_are_complete",
        WORKFLOW,
        "on:\n  workflow_call:\n    inputs:\n      a:\n        description: A.\n        default: b",
    ),
    ("actions_are_short", ACTION, "a: b\n" + "# more\n" * 100),
    (
        "job_status_is_not_asked_in_a_composite",
        ACTION,
        composite("- uses: $/actions/gate\n  with:\n    model-result: ${{ job.status }}"),
    ),
    ("references_exist", ACTION, composite("- env:\n    A: ${{ inputs.nope }}")),
    ("references_exist", ACTION, composite("- if: inputs.nope == 'true'")),
    ("references_exist", ACTION, composite("- env:\n    A: ${{ steps.later.outputs.x }}")),
    ("references_exist", ACTION, composite("- env:\n    A: ${{ needs.job.outputs.x }}")),
    (
        "references_exist",
        ACTION,
        "outputs:\n  a:\n    value: ${{ steps.gone.outputs.a }}\n" + composite("- id: here"),
    ),
    ("inputs_are_used", ACTION, "inputs:\n  a: {}\n" + composite("- run: true")),
    (
        "inputs_are_used",
        WORKFLOW,
        "on:\n  workflow_call:\n    inputs:\n      a: {}\n" + job("if: inputs.b"),
    ),
]


@pytest.mark.parametrize(("name", "file", "text"), VIOLATIONS)
def test_rule_catches(name: str, file: str, text: str):
    assert list(RULES[name](Source(file, text))) != []


def test_every_rule_is_shown_to_catch_something():
    assert {name for name, _, _ in VIOLATIONS} == set(RULES)


GOOD_WORKFLOW = f"""\
on:
  workflow_call:
    inputs:
      config:
        description: The configuration.
        required: false
        type: string
        default: mlops.yaml
    secrets:
      ENV:
        description: Lines of KEY=VALUE.
        required: false
permissions: {{}}
jobs:
  model:
    name: Model
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    permissions:
      contents: read # To check out.
    steps:
      - uses: actions/checkout@{SHA} # v7.0.1
        with:
          persist-credentials: false
      - uses: $/actions/train
        with:
          config: ${{{{ inputs.config }}}}
  verdict:
    name: Verdict
    needs: model
    if: always()
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    concurrency:
      group: mlops-${{{{ needs.model.outputs.model }}}}-registry
      queue: max
    permissions:
      contents: write # To push the branch mlops-state.
    steps:
      - uses: astral-sh/setup-uv@20cfd1bf945f4377ade1205e4dbc17946fc9a30d # v10.0.1
        with:
          enable-cache: false
      - uses: $/actions/publish
        with:
          tracking-token: ${{{{ secrets.MLFLOW_WRITE_TOKEN }}}}
"""

GOOD_ACTION = """\
name: Train
description: Trains the model.
inputs:
  config:
    description: The configuration.
    required: false
    default: mlops.yaml
outputs:
  run-id:
    description: The run.
    value: ${{ steps.train.outputs.run-id }}
runs:
  using: composite
  steps:
    - id: train
      shell: bash
      env:
        CONFIG: ${{ inputs.config }}
      run: >-
        "$GITHUB_ACTION_PATH/../../scripts/mlops-actions" train
        --config "$CONFIG"
"""


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("file", "text"), [(WORKFLOW, GOOD_WORKFLOW), (ACTION, GOOD_ACTION)])
def test_rule_lets_good_files_pass(name: str, file: str, text: str):
    assert list(RULES[name](Source(file, text))) == []


def test_a_login_as_it_should_be_passes():
    ours = login("secrets.REGISTRY_PASSWORD || inputs.registry == 'ghcr.io' && github.token || ''")
    rule = RULES["the_token_of_the_run_goes_to_ghcr_only"]
    assert list(rule(Source(WORKFLOW, job(ours)))) == []


def test_a_scan_as_it_should_be_passes():
    assert list(RULES["trivy_obeys_no_change"](Source(WORKFLOW, job(scan())))) == []
