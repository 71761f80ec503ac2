"""What must hold in each workflow and action by itself: one rule, one function.

A rule yields a message for each violation. ``test_rules.py`` shows each one catching something,
and ``test_tree.py`` applies them all to the files of the repository.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from sources import SLUG, Source

Rule = Callable[[Source], Iterator[str]]
RULES: dict[str, Rule] = {}

ACTION_LINES = 100
PINNED = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?@[0-9a-f]{40}")
VERSION_COMMENT = re.compile(r"# v\d+\.\d+\.\d+$")
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
USER_CODE = {f"$/actions/{stage}" for stage in ("validate", "train", "score", "build")}
PUBLISH = "$/actions/publish"
WRITING = re.compile(r"\bsecrets\.(\w*_WRITE_\w*)")
TOKEN = re.compile(r"\b(github\.token|secrets\.GITHUB_TOKEN)\b", re.IGNORECASE)
REFERENCE = re.compile(r"\b(inputs|steps|needs)\.([\w-]+)(?:\.outputs\.([\w-]+))?")

# Commits that ran in the attacks of March 2026 on these actions (GHSA-69fq-xp46-6x23,
# CVE-2026-33634) and of March 2025 (CVE-2025-30066). A pin is worth what it points at.
MALICIOUS = {
    "ddb9da4475c1cef7d5389062bdfdfbdbd1394648",  # aquasecurity/trivy-action 0.34.2
    "91e7c2c36dcad14149d8e455b960af62a2ffb275",  # aquasecurity/trivy-action 0.33.1
    "c5967f85626795f647d4bf6eb67227f9b79e02f5",  # aquasecurity/trivy-action 0.28.0
    "8afa9b9f9183b4e00c46e2b82d34047e3c177bd0",  # aquasecurity/setup-trivy
    "70379aad1a8b40919ce8b382d3cd7d0315cde1d0",  # actions/checkout, from a fork, as "v6.0.2"
    "0e58ed8671d6b60d0890c21b07f8835ace038e67",  # tj-actions/changed-files
}


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


# What runs, and from where.


@rule
def run_holds_no_expression(source: Source) -> Iterator[str]:
    for step in source.steps:
        if "${{" in step.get("run", ""):
            yield f"values enter a shell through env only: {step['run']!r}"


@rule
def run_is_one_command(source: Source) -> Iterator[str]:
    for step in source.steps:
        if "run" not in step:
            continue
        command = re.sub(r"\\\n\s*", "", step["run"]).strip()
        words = shlex.shlex(command, posix=True, punctuation_chars=";&|")
        words.commenters = ""
        if "\n" in command or any(set(word) <= set(";&|") for word in words):
            yield f"more than one command; logic belongs in Python: {command!r}"


@rule
def ours_by_self_reference(source: Source) -> Iterator[str]:
    for number, uses in source.uses:
        if uses.startswith(("./", "../", f"{SLUG}/", f"{SLUG}@")) or uses == SLUG:
            yield f"line {number}: ours are called by $/: {uses}"
        if uses.startswith("$/") and ("@" in uses or "${{" in uses):
            yield f"line {number}: $/ takes neither a ref nor an expression: {uses}"


@rule
def others_are_pinned(source: Source) -> Iterator[str]:
    for number, uses in source.uses:
        if uses.startswith(("$/", "./")):
            continue
        if not PINNED.fullmatch(uses):
            yield f"line {number}: not pinned to a commit of 40 digits: {uses}"
        elif not VERSION_COMMENT.search(source.line(number)):
            yield f"line {number}: the pin needs its version as a comment, # vX.Y.Z"


@rule
def no_known_malicious_commit(source: Source) -> Iterator[str]:
    for commit in sorted(MALICIOUS):
        if commit in source.text:
            yield f"{commit} is known to be malicious"


@rule
def checkout_keeps_no_credentials(source: Source) -> Iterator[str]:
    for step in source.steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            keeps = (step.get("with") or {}).get("persist-credentials", True)
            if keeps is not False and keeps != "false":
                yield "checkout needs persist-credentials: false"


@rule
def callers_environment_is_left_alone(source: Source) -> Iterator[str]:
    for word in ("GITHUB_ENV", "GITHUB_PATH"):
        if word in source.text:
            yield f"{word} would change the environment of the caller's later steps"


# Jobs and their rights.


@rule
def no_dangerous_trigger(source: Source) -> Iterator[str]:
    if source.is_workflow and "pull_request_target" in source.text:
        yield "pull_request_target runs a stranger's change with our rights"


@rule
def public_workflows_are_only_called(source: Source) -> Iterator[str]:
    if source.is_public_workflow and list(source.document["on"]) != ["workflow_call"]:
        yield "a public workflow has only on: workflow_call"


@rule
def secrets_are_named(source: Source) -> Iterator[str]:
    for name, job in source.jobs.items():
        if job.get("secrets") == "inherit":
            yield f"{name}: secrets are passed one by one, never inherited"


@rule
def no_rights_on_top(source: Source) -> Iterator[str]:
    if source.is_workflow and source.document.get("permissions", "none") != {}:
        yield "permissions: {} on top; rights belong to a job"


@rule
def each_grant_has_a_reason(source: Source) -> Iterator[str]:
    for name, job in source.jobs.items():
        grants = job.get("permissions", {})
        if isinstance(grants, str):
            yield f"{name}: rights are named one by one, not {grants}"
            continue
        for scope, level in grants.items():
            number = grants.lc.key(scope)[0] + 1
            if not re.search(r"\S\s+# \S.*", source.line(number)):
                yield f"line {number}: why does {name} need {scope}: {level}?"


@rule
def jobs_are_complete(source: Source) -> Iterator[str]:
    for name, job in source.jobs.items():
        wanted = ["name"] if "uses" in job else ["name", "runs-on", "timeout-minutes"]
        for key in wanted:
            if key not in job:
                yield f"{name} needs {key}"
        if str(job.get("runs-on", "")).endswith("-latest"):
            yield f"{name}: a runner's version is pinned"


def _writes(job: Any) -> bool:
    return any(level == "write" for level in (job.get("permissions") or {}).values())


def _runs_user_code(job: Any) -> str | None:
    """The action in a job that runs the user's code or dependencies, whatever the job is called."""
    uses = [step.get("uses", "") for step in job.get("steps", [])]
    return next((action for action in uses if action in USER_CODE), None)


@rule
def user_code_has_no_rights(source: Source) -> Iterator[str]:
    """Where the user's code runs, the job reads, and signs nothing."""
    for name, job in source.jobs.items():
        if (action := _runs_user_code(job)) and _writes(job):
            yield f"{name} runs the user's code ({action}) and may only read"


@rule
def only_publish_writes_to_mlflow(source: Source) -> Iterator[str]:
    """The credential that writes to an MLflow server goes to no other step."""
    for name, job in source.jobs.items():
        others = [step for step in job.get("steps", []) if step.get("uses") != PUBLISH]
        for secret in WRITING.findall(_expressions({**job, "steps": others})):
            yield f"{name}: {secret} goes to {PUBLISH} only"


@rule
def the_token_of_the_run_goes_to_ghcr_only(source: Source) -> Iterator[str]:
    """A registry is an input: another host would learn a token that may write here."""
    for step in source.steps:
        options = _expressions(step.get("with") or {})
        if step.get("uses", "").startswith("docker/login-action@") and TOKEN.search(
            options.replace("inputs.registry == 'ghcr.io' && github.token", "")
        ):
            yield "the token of the run is for ghcr.io alone"


@rule
def jobs_with_rights_restore_no_cache(source: Source) -> Iterator[str]:
    for name, job in source.jobs.items():
        if not _writes(job):
            continue
        for step in job.get("steps", []):
            uses, options = step.get("uses", ""), step.get("with") or {}
            caches = uses.startswith("actions/cache") or (
                uses.startswith("astral-sh/setup-uv@")
                and str(options.get("enable-cache", "auto")).lower() != "false"
            )
            if caches:
                yield f"{name} has rights and must not restore a cache: {uses}"


@rule
def trivy_obeys_no_change(source: Source) -> Iterator[str]:
    """A scan is configured from outside the checkout and filters nothing; the policy decides."""
    for name, job in source.jobs.items():
        scans = [
            step.get("with") or {}
            for step in job.get("steps", [])
            if step.get("uses", "").startswith("aquasecurity/trivy-action@")
        ]
        if scans and _writes(job):
            yield f"{name}: Trivy gets no right to write"
        for options in scans:
            for key in ("trivy-config", "trivyignores", "cache-dir"):
                if not str(options.get(key, "")).startswith("${{ runner.temp }}/"):
                    yield f"{name}: a change could bring its own {key}"
            if options.get("cache") is not False:
                yield f"{name}: another job could have filled Trivy's cache"
            for key in ("severity", "vuln-type", "ignore-unfixed", "ignore-policy", "exit-code"):
                if key in options:
                    yield f"{name}: {key} would decide before mlops.yaml does"


@rule
def verdict_always_speaks(source: Source) -> Iterator[str]:
    """A skipped required check counts as success, so the check to require always runs."""
    if not source.is_public_workflow or not any(map(_runs_user_code, source.jobs.values())):
        return
    last, job = list(source.jobs.items())[-1]
    condition = str(job.get("if", "")).replace("${{", "").replace("}}", "").strip()
    if last != "verdict" or condition != "always()":
        yield "the last job is verdict, with if: always()"


@rule
def writers_take_turns(source: Source) -> Iterator[str]:
    for name, job in source.jobs.items():
        concurrency = job.get("concurrency")
        if not source.is_public_workflow or concurrency is None:
            continue
        if not isinstance(concurrency, dict) or concurrency.get("queue") != "max":
            yield f"{name}: without queue: max a waiting run is dropped for the next"
            continue
        if not concurrency["group"].startswith("mlops-"):
            yield f"{name}: the group is named after model and environment, mlops-…"
        if "github.workflow" in concurrency["group"]:
            yield f"{name}: github.workflow is the caller's"


@rule
def pass_needs_every_job(source: Source) -> Iterator[str]:
    if source.stem != "ci":
        return
    last, job = list(source.jobs.items())[-1]
    missing = set(source.jobs) - {last} - set(job.get("needs", []))
    if last != "pass" or "always()" not in str(job.get("if", "")) or missing:
        yield f"the last job is pass, with always() and every job in needs: {sorted(missing)}"


# Names and words.


@rule
def names_are_kebab_case(source: Source) -> Iterator[str]:
    for name in [*source.inputs, *source.outputs, *source.jobs]:
        if not KEBAB.fullmatch(name):
            yield f"{name} is not kebab-case"
    for name in source.interface.get("secrets") or {}:
        if not UPPER_SNAKE.fullmatch(name):
            yield f"the secret {name} is not UPPER_SNAKE"


@rule
def descriptions_are_sentences(source: Source) -> Iterator[str]:
    for kind in ("inputs", "secrets", "outputs"):
        for name, declared in (source.interface.get(kind) or {}).items():
            text = str((declared or {}).get("description", "")).strip()
            if not text.endswith("."):
                yield f"{kind}.{name}: the description is a sentence with a full stop"
    if not source.is_workflow and not str(source.document.get("description", "")).endswith("."):
        yield "the action's description is a sentence with a full stop"


@rule
def inputs_are_complete(source: Source) -> Iterator[str]:
    for name, declared in source.inputs.items():
        order = [key for key in ("description", "required", "type", "default") if key in declared]
        if list(declared) != order:
            yield f"{name}: the keys are description, required, type, default, in this order"
        if declared.get("required") and "default" in declared:
            yield f"{name}: required, and yet it has a default"
        if not declared.get("required") and "default" not in declared:
            yield f"{name}: optional, so it needs a default (an empty string is unset)"
        if source.is_workflow and "type" not in declared:
            yield f"{name}: an input of a workflow has a type"
        if not source.is_workflow and not isinstance(declared.get("default", ""), str):
            yield f"{name}: an action's inputs are strings; quote the default"


@rule
def actions_are_short(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if not source.is_workflow and lines > ACTION_LINES:
        yield f"{lines} lines; an action wires and does not decide"


@rule
def job_status_is_not_asked_in_a_composite(source: Source) -> Iterator[str]:
    """There it does not follow the composite's own steps; ``steps.<id>.outcome`` does."""
    if not source.is_workflow and "job.status" in _expressions(source.document.get("runs")):
        yield "job.status stays success when a step of this action failed"


@rule
def references_exist(source: Source) -> Iterator[str]:
    """In a composite: actionlint does not look there, and a wrong name is an empty string."""
    if source.is_workflow:
        return
    earlier: set[str] = set()
    outputs = {"outputs": source.outputs}
    for place in [*source.steps, outputs]:
        for kind, name, output in REFERENCE.findall(_expressions(place)):
            if kind == "inputs" and name not in source.inputs:
                yield f"inputs.{name} is not declared"
            if kind == "needs" or (kind == "steps" and name not in earlier):
                yield f"{kind}.{name} does not come before its use"
            if kind == "steps" and not output and place is outputs:
                yield f"steps.{name}: an output names an output"
        if "id" in place:
            earlier.add(place["id"])


@rule
def inputs_are_used(source: Source) -> Iterator[str]:
    body = source.jobs if source.is_workflow else {"all": list(source.steps)}
    used = {name for kind, name, _ in REFERENCE.findall(_expressions(body)) if kind == "inputs"}
    for name in source.inputs:
        if name not in used:
            yield f"the input {name} changes nothing"


def _expressions(node: object, key: str = "") -> str:
    """All the text in which GitHub evaluates expressions, below a node."""
    if isinstance(node, dict):
        return " ".join(_expressions(value, str(name)) for name, value in node.items())
    if isinstance(node, list):
        return " ".join(_expressions(value) for value in node)
    text = str(node)
    if key == "if":
        return text
    return " ".join(re.findall(r"\$\{\{(.*?)\}\}", text, flags=re.DOTALL))
