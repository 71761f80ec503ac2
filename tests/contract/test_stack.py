"""Workflow, action and command say the same, and each disagreement would be seen."""

import pytest
import stack
from sources import ACTIONS, PUBLIC_WORKFLOWS, ROOT, STAGE_ACTIONS, Source

from mlops_actions import cli

OURS = {f"$/{source.name.removesuffix('/action.yml')}": source for source in STAGE_ACTIONS}
NOT_STAGES = {"comment", "registry", "local", "schema", "scan"}
BELOW = {"tracked_run": "train"}  # What a full run and a smoke run share.
PARTS = {"scan"}  # Of the stage build; each writes evidence of its own.


@pytest.mark.parametrize("source", ACTIONS, ids=lambda source: source.name)
def test_commands_take_what_actions_pass(source: Source):
    assert list(stack.call_problems(source)) == []


@pytest.mark.parametrize("source", ACTIONS, ids=lambda source: source.name)
def test_outputs_are_set_by_the_command(source: Source):
    commands = {name: stack.outputs_of(name) for name in cli.COMMANDS}
    assert list(stack.output_problems(source, commands)) == []


def test_workflows_and_actions_agree():
    assert list(stack.declaration_problems(PUBLIC_WORKFLOWS, OURS)) == []


def test_front_door_and_actions_agree():
    front = [source for source in ACTIONS if source.name == "action.yml"]
    assert list(stack.declaration_problems(front, OURS)) == []


def test_user_code_runs_without_credentials():
    """Steps that run user code take no token; before them, one step of `validate` does."""
    actions = {source.stem: list(source.steps) for source in STAGE_ACTIONS}
    baseline, validate = actions["validate"]
    assert "GITHUB_TOKEN" in baseline["env"]
    for step in [validate, *actions["train"], *actions["score"]]:
        assert set(step["env"]) <= {"CONFIG", "DIRECTORY", "FORCE", "MLOPS_ENV"}


def test_one_default_a_name():
    assert list(stack.default_problems(PUBLIC_WORKFLOWS + ACTIONS)) == []


def test_one_input_a_variable():
    assert list(stack.variable_problems(ACTIONS)) == []


@pytest.mark.parametrize("source", ACTIONS, ids=lambda source: source.name)
def test_outputs_of_nested_actions_exist(source: Source):
    assert list(stack.nested_output_problems(source, OURS)) == []


def test_same_stem_down_the_stack():
    stages = {source.stem for source in STAGE_ACTIONS}
    assert stages == set(cli.COMMANDS) - NOT_STAGES
    for stage in stages:
        assert stack._modules(stage)[0].exists(), stage
        assert list((ROOT / "tests/unit").rglob(f"test_{stage}*.py")), f"no unit test of {stage}"


def test_evidence_names_the_stage_that_wrote_it():
    found = stack.stages_of_evidence()
    assert found == {module: {BELOW.get(module, module)} for module in found}
    stages = set().union(*found.values()) - PARTS
    assert stages == {source.stem for source in STAGE_ACTIONS}


# Each of these must be seen.


def action(body: str, inputs: str = "") -> Source:
    steps = f"runs:\n  using: composite\n  steps:\n{body}"
    return Source("actions/train/action.yml", f"inputs:\n{inputs or '  config: {}'}\n{steps}")


FORCE = "  force:\n    description: Train anyway.\n    default: {}\n"
RUN = (
    f"""    - run: '"{stack.PROGRAM}" train --handover x {{}}'\n      env: {{{{VALUE: {{}}}}}}\n"""
)
INPUT = "'${{ inputs.force }}'"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (action("    - run: python train.py"), "not our command"),
        (action(RUN.format("--no-such-option 1", "1")), "unrecognized arguments"),
        (action(RUN.format('--force "$VALUE"', INPUT), FORCE.format("'maybe'")), "invalid choice"),
        (action(RUN.format('--baseline "$VALUE"', INPUT), FORCE.format("'a'")), "is passed as"),
        (action(RUN.format('--force "$VALUE"', INPUT), FORCE.format("'true'")), "the default is"),
    ],
)
def test_a_command_that_would_refuse_is_seen(source: Source, message: str):
    assert message in "\n".join(stack.call_problems(source))


def test_an_option_that_only_the_command_requires_is_seen():
    inputs = "  handover:\n    description: A folder.\n    default: x\n"
    body = (
        f"""    - run: '"{stack.PROGRAM}" train --handover "$H"'\n"""
        "      env: {H: '${{ inputs.handover }}'}\n"
    )
    assert "is required by the command" in "\n".join(stack.call_problems(action(body, inputs)))


def workflow(given: str, description: str = "Train anyway.", default: str = "false") -> Source:
    return Source(
        ".github/workflows/train.yml",
        "on:\n  workflow_call:\n    inputs:\n      force:\n"
        f"        description: {description}\n        default: {default}\n"
        "    secrets:\n      MLFLOW_TRACKING_TOKEN: {}\n"
        f"jobs:\n  model:\n    steps:\n      - uses: $/actions/train\n        with:\n{given}",
    )


HANDED = "          force: ${{ inputs.force }}\n"
GIVEN = "          tracking-token: ${{ secrets.MLFLOW_TRACKING_TOKEN }}\n"
CALLED = action("    - id: a", FORCE.format("'false'") + "  tracking-token:\n    default: ''")


@pytest.mark.parametrize(
    ("caller", "message"),
    [
        (workflow(GIVEN), "does not hand force on"),
        (workflow(HANDED), "does not hand MLFLOW_TRACKING_TOKEN on"),
        (workflow(HANDED + GIVEN, description="Something else."), "differ in description"),
        (workflow(HANDED + GIVEN, default="true"), "differ in default"),
    ],
)
def test_a_workflow_that_disagrees_is_seen(caller: Source, message: str):
    assert message in "\n".join(stack.declaration_problems([caller], {"$/actions/train": CALLED}))


def test_a_workflow_that_agrees_is_let_pass():
    caller = workflow(HANDED + GIVEN)
    assert list(stack.declaration_problems([caller], {"$/actions/train": CALLED})) == []


@pytest.mark.parametrize(
    ("stage", "secret", "agrees"),
    [
        ("publish", "MLFLOW_WRITE_TOKEN", True),
        ("publish", "MLFLOW_TRACKING_TOKEN", False),
        ("gate", "MLFLOW_TRACKING_TOKEN", True),
        ("gate", "MLFLOW_WRITE_TOKEN", False),
    ],
)
def test_the_credential_that_writes_goes_to_publish(stage: str, secret: str, agrees: bool):
    caller = Source(
        ".github/workflows/train.yml",
        "on:\n  workflow_call:\n    secrets:\n      MLFLOW_TRACKING_TOKEN: {}\n"
        "      MLFLOW_WRITE_TOKEN: {}\n"
        f"jobs:\n  verdict:\n    steps:\n      - uses: $/actions/{stage}\n"
        f"        with: {{tracking-token: '${{{{ secrets.{secret} }}}}'}}\n",
    )
    called = Source(
        f"actions/{stage}/action.yml",
        "inputs:\n  tracking-token:\n    default: ''\nruns:\n  steps: []\n",
    )
    problems = list(stack.declaration_problems([caller], {f"$/actions/{stage}": called}))
    assert (problems == []) is agrees, problems


def test_two_defaults_of_one_name_are_seen():
    sources = [action("", FORCE.format(value)) for value in ("'true'", "'false'")]
    sources[1] = Source("actions/gate/action.yml", sources[1].text)
    assert list(stack.default_problems(sources)) != []


def test_two_inputs_in_one_variable_are_seen():
    steps = "".join(
        f"    - env: {{TOKEN: '${{{{ inputs.{name} }}}}'}}\n"
        for name in ("token", "tracking-token")
    )
    assert list(stack.variable_problems([action(steps)])) != []


@pytest.mark.parametrize("value", ["steps.train.outputs.gone", "steps.train.outputs.outcome"])
def test_an_output_that_nobody_sets_is_seen(value: str):
    source = Source(
        "actions/train/action.yml",
        f"outputs:\n  version:\n    value: ${{{{ {value} }}}}\n"
        "runs:\n  steps:\n    - id: train\n      run: mlops-actions train\n",
    )
    assert list(stack.output_problems(source, {"train": {"outcome"}})) != []


def test_an_output_that_a_nested_action_lacks_is_seen():
    outer = action("    - {id: a, uses: $/x}\n    - if: steps.a.outputs.gone == 'true'\n")
    assert list(stack.nested_output_problems(outer, {"$/x": action("    - id: b")})) != []


def test_evidence_under_another_name_is_seen(tmp_path):
    (tmp_path / "train.py").write_text('evidence.statement("score", "passed", [])\n')
    assert stack.stages_of_evidence(tmp_path) == {"train": {"score"}}
