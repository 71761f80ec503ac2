"""One name, one meaning, down the stack: workflow, action, command.

Each function lists what does not agree, as messages.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import io
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sources import ROOT, Source

from mlops_actions import cli

PACKAGE = ROOT / "scripts" / "mlops_actions"
PROGRAM = "$GITHUB_ACTION_PATH/../../scripts/mlops-actions"
FRONT_DOOR_PROGRAM = "$GITHUB_ACTION_PATH/scripts/mlops-actions"
GENERAL = {"working-directory": "--directory"}  # Of the program, whatever the command.
DIFFERS_BY_PLACE = {"github-token"}  # Each place says what its token must be allowed to do.
_INPUT = re.compile(r"\$\{\{\s*inputs\.([\w-]+)\s*\}\}")


def plain(value: object) -> str:
    """The text in which a workflow's ``false`` and an action's ``'false'`` are the same."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def words_of(step: Any) -> list[str]:
    """The words of a step's line, an option and its value apart also where ``=`` joins them.

    Actions join them, so that a value which begins with a dash stays a value.
    """
    words: list[str] = []
    for word in shlex.split(step["run"]):
        option, joined, value = word.partition("=")
        words += [option, value] if joined and option.startswith("--") else [word]
    return words


def command_of(step: Any) -> str:
    """The command that a step's line calls, behind the options of the program itself."""
    words = words_of(step)
    return next((word for word in words[1:] if word in cli.COMMANDS), "")


def command_line(step: Any, inputs: dict[str, Any]) -> list[str]:
    """The words of a step's command, each variable replaced by its input's default.

    A variable with no default stands for itself, as any other text would.
    """
    defaults = {}
    for variable, value in (step.get("env") or {}).items():
        found = _INPUT.fullmatch(str(value))
        if found and inputs.get(found[1], {}).get("default"):
            defaults[f"${variable}"] = plain(inputs[found[1]]["default"])
    return [defaults.get(word, word) for word in words_of(step)]


def call_problems(source: Source) -> Iterator[str]:
    """Commands of an action that its command line would refuse, or read under another name."""
    for step in source.steps:
        if "run" not in step:
            continue
        words = command_line(step, source.inputs)
        if words[0] not in {PROGRAM, FRONT_DOOR_PROGRAM}:
            yield f"a step runs {words[0]}, not our command"
            continue
        refusal = io.StringIO()
        try:
            with contextlib.redirect_stderr(refusal):
                arguments = cli._parse(words[1:])
        except SystemExit:
            yield refusal.getvalue().strip().splitlines()[-1]
            continue
        yield from _names(step)
        yield from _defaults(source, step, arguments)


def _passed(step: Any) -> dict[str, str]:
    """Inputs by the option that they are passed with."""
    words = words_of(step)
    variables = {
        f"${name}": found[1]
        for name, value in (step.get("env") or {}).items()
        if (found := _INPUT.fullmatch(str(value)))
    }
    return {
        option: variables[value]
        for option, value in itertools.pairwise(words)
        if option.startswith("--") and value in variables
    }


def _names(step: Any) -> Iterator[str]:
    for option, name in _passed(step).items():
        if option != GENERAL.get(name, f"--{name}"):
            yield f"the input {name} is passed as {option}"


def _defaults(source: Source, step: Any, given: argparse.Namespace) -> Iterator[str]:
    """With an option left out, the command must do what the action does by default."""
    words, written = command_line(step, source.inputs), words_of(step)
    for option, name in _passed(step).items():
        if "default" not in source.inputs.get(name, {}):
            continue
        place = written.index(option)
        without = [*words[1:place], *words[place + 2 :]]
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                left_out = cli._parse(without)
        except SystemExit:
            yield f"{option} is required by the command and optional in the action"
            continue
        attribute = option.removeprefix("--").replace("-", "_")
        here, there = getattr(given, attribute), getattr(left_out, attribute)
        if (here or None) != (there or None):
            yield f"{option}: the default is {here} in the action, {there} in the command"


def declaration_problems(callers: Iterable[Source], called: dict[str, Source]) -> Iterator[str]:
    """Inputs that a workflow and the actions in it describe differently, or do not hand on."""
    for caller in callers:
        declared: dict[str, Any] = caller.interface.get("secrets") or {}
        secrets = {_as_input(name): name for name in declared}
        for step in caller.steps:
            action = called.get(step.get("uses", ""))
            if action is None:
                continue
            given = step.get("with") or {}
            for name, input_ in action.inputs.items():
                if name in caller.inputs:
                    outer = caller.inputs[name]
                    if given.get(name) != f"${{{{ inputs.{name} }}}}":
                        yield f"{caller.name} does not hand {name} on to {action.name}"
                    for key in ("description", "default"):
                        if name in DIFFERS_BY_PLACE:
                            continue
                        if plain(outer.get(key, "")) != plain(input_.get(key, "")):
                            yield f"{name}: {caller.name} and {action.name} differ in {key}"
                    continue
                secret = secrets.get(name)
                # The step that registers gets the credential that writes, where there is one.
                writing = (secret or "").replace("_TRACKING_", "_WRITE_")
                if action.stem == "publish" and writing in declared:
                    secret = writing
                if secret and given.get(name) != f"${{{{ secrets.{secret} }}}}":
                    yield f"{caller.name} does not hand {secret} on to {action.name}"


def _as_input(secret: str) -> str:
    return secret.removeprefix("MLFLOW_").lower().replace("_", "-")


def default_problems(sources: Iterable[Source]) -> Iterator[str]:
    """Inputs of one name with several defaults."""
    defaults: dict[str, dict[str, str]] = {}
    for source in sources:
        for name, declared in source.inputs.items():
            if not declared.get("required") and name not in DIFFERS_BY_PLACE:
                defaults.setdefault(name, {})[source.name] = plain(declared.get("default", ""))
    for name, found in defaults.items():
        if len(set(found.values())) > 1:
            yield f"{name}: {found}"


def variable_problems(sources: Iterable[Source]) -> Iterator[str]:
    """Environment variables that carry another input elsewhere."""
    carried: dict[str, set[str]] = {}
    for source in sources:
        for step in source.steps:
            for variable, value in (step.get("env") or {}).items():
                if found := _INPUT.fullmatch(str(value)):
                    carried.setdefault(variable, set()).add(found[1])
    for variable, names in carried.items():
        if len(names) > 1:
            yield f"{variable} carries {sorted(names)}"


def output_problems(source: Source, commands: dict[str, set[str]]) -> Iterator[str]:
    """Outputs that no command of the action sets, or that change their name on the way.

    ``commands`` gives the outputs that each command's code sets.
    """
    by_step: dict[str, set[str]] = {}
    for step in source.steps:
        if "id" in step and "run" in step:
            by_step[step["id"]] = commands.get(command_of(step), set())
    for name, declared in source.outputs.items():
        for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", declared["value"]):
            if step in by_step and output not in by_step[step]:
                yield f"{name}: no code sets the output {output} of the step {step}"
            if output != name:
                yield f"{name} is called {output} inside"


def nested_output_problems(source: Source, called: dict[str, Source]) -> Iterator[str]:
    """Outputs read from a step that calls an action of ours without that output.

    In a workflow actionlint sees this; it does not look into a composite.
    """
    actions = {
        step["id"]: called[step["uses"]]
        for step in source.steps
        if "id" in step and step.get("uses") in called
    }
    for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", source.text):
        if step in actions and output not in actions[step].outputs:
            yield f"{actions[step].name} has no output {output}"


def _modules(command: str) -> list[Path]:
    folder = PACKAGE / command
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{command}.py"]


@functools.cache
def outputs_of(command: str) -> set[str]:
    """Names that a command, or what it is made of, sets as outputs."""
    pending, seen = _modules(command), set[Path]()
    names: set[str] = set()
    while pending:
        path = pending.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= set(_first_arguments(tree, "set_output"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlops_actions"):
                inside = (node.module or "").split(".")[1:]
                base = PACKAGE.joinpath(*inside)
                for alias in node.names:
                    if (base / f"{alias.name}.py").exists():
                        pending.append(base / f"{alias.name}.py")
                if base.with_suffix(".py").exists():
                    pending.append(base.with_suffix(".py"))
    return names


def _first_arguments(tree: ast.AST, function: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name == function and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def stages_of_evidence(folder: Path = PACKAGE) -> dict[str, set[str]]:
    """The stage that each module's evidence names."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for stage in _first_arguments(tree, "statement"):
            place = path.relative_to(folder)
            stem = place.parts[0].removesuffix(".py")
            found.setdefault(stem, set()).add(stage)
    return found
