"""What the template makes: every answer fits, every update keeps what the user wrote."""

import ast
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import copier
import pytest
from ruamel.yaml import YAML
from sources import ROOT, SLUG

from mlops_actions import config
from mlops_actions.gate.statistics import metrics
from mlops_actions.scope import FULL_TRAINING
from mlops_actions.validate import schema

EXAMPLES = ["flights", "blank"]
# A user who compares the examples finds the same words: these files differ in nothing.
SHARED = [
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".github/dependabot.yml",
    ".github/workflows/build.yml.jinja",
    ".github/workflows/quality-gate.yml.jinja",
    ".github/workflows/rescan.yml.jinja",
    ".github/workflows/train.yml.jinja",
    ".gitignore",
    "[[ _copier_conf.answers_file ]].jinja",
    "model/evaluate.py",
]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    # What the user's own configuration says about branches, tags and signatures is not ours.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    answer = subprocess.run(
        ["git", *identity, *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return answer.stdout.strip()


def release(folder: Path, tag: str) -> str:
    """Commit all and tag it; give the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The template as it is in this checkout, as a repository with the release v1.0.0."""
    folder = tmp_path / "template"
    folder.mkdir()
    listed = git(
        ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--",
        "copier.yml", "model_template",
    )  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    release(folder, "v1.0.0")
    return folder


def copy(template: Path, folder: Path, **answers: str) -> Path:
    copier.run_copy(str(template), folder, data=answers, defaults=True, quiet=True)
    return folder


def called(folder: Path) -> dict[str, str]:
    """By workflow file: what it calls, with the comment on that line."""
    lines = {
        path.name: re.findall(r"^\s+uses: (.+)$", path.read_text(), re.MULTILINE)
        for path in (folder / ".github" / "workflows").glob("*.yml")
    }
    assert all(len(found) == 1 for found in lines.values())
    return {name: found[0] for name, found in lines.items()}


def load_yaml(path: Path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


# The files that come out.


def test_nothing_of_the_template_is_left(generated: Path):
    files = [path for path in generated.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        assert path.suffix != ".jinja"
        if path.name != "uv.lock":  # TOML has double brackets of its own.
            assert not re.search(r"\[[\[%#] ", path.read_text(encoding="utf-8")), path.name


def test_configuration_is_ours_and_names_what_there_is(generated: Path):
    project = config.load(generated / "mlops.yaml")
    settings = project.config
    for name in settings.gate.metrics:
        metrics.lookup(name, settings.task, classes=len(settings.labels or []))
    pipeline = load_yaml(generated / "dvc.yaml")["stages"]
    sets = [settings.data.evaluation_path(name) for name in config.EVALUATION_SETS]
    files = {settings.data.training, *filter(None, sets)}
    assert files == set(pipeline["prepare"]["outs"])
    assert settings.train.stage in pipeline
    assert settings.data.schema_ is not None
    columns = set(schema.load(generated / settings.data.schema_).columns)
    assert set(settings.key_columns) <= columns
    assert not settings.data.shared_evaluation


def test_the_commented_smoke_section_is_right_when_it_is_turned_on(generated: Path):
    text = (generated / "mlops.yaml").read_text(encoding="utf-8")
    head, _, tail = text.partition("pull-request: full\n")
    turned_on = head + "pull-request: smoke\n" + re.sub(r"^# ?", "", tail, flags=re.MULTILINE)
    settings = config.parse(turned_on, generated / "mlops.yaml").config
    assert settings.smoke is not None
    assert settings.smoke.metric in settings.gate.metrics
    assert "dvc repro" not in settings.smoke.command


def test_the_schema_of_the_editor_is_the_published_one(generated: Path):
    first = (generated / "mlops.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={config.SCHEMA_URL}"


def modules_of(folder: Path, module: str) -> set[str]:
    """The files of the project that a module needs, itself among them."""
    path = f"{module.replace('.', '/')}.py"
    found = {path}
    for node in ast.walk(ast.parse((folder / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("model."):
            found |= modules_of(folder, node.module)
    return found


def test_stages_depend_on_the_code_they_run(generated: Path):
    stages = load_yaml(generated / "dvc.yaml")["stages"]
    assert list(stages) == ["prepare", "train", "evaluate"]
    for name, stage in stages.items():
        module = stage["cmd"].removeprefix("python -m ")
        code = {path for path in stage["deps"] if path.endswith(".py")}
        assert code == modules_of(generated, module), name


def test_every_grant_has_its_reason(generated: Path):
    for path in (generated / ".github" / "workflows").glob("*.yml"):
        grants = re.findall(r"^ +[a-z-]+: (?:read|write)\b.*$", path.read_text(), re.MULTILINE)
        assert grants
        assert all(re.search(r" # \S.*\.$", line) for line in grants)


def test_each_secret_that_ours_knows_is_passed(generated: Path):
    for path in (generated / ".github" / "workflows").glob("*.yml"):
        ours = load_yaml(ROOT / ".github" / "workflows" / path.name)
        (job,) = load_yaml(path)["jobs"].values()
        known = ours["on"]["workflow_call"]["secrets"]
        assert job["secrets"] == {name: f"${{{{ secrets.{name} }}}}" for name in known}


def test_labels_that_start_a_run_are_those_that_mean_something(generated: Path):
    (job,) = load_yaml(generated / ".github/workflows/quality-gate.yml")["jobs"].values()
    approval = config.load(generated / "mlops.yaml").config.gate.approval_label
    names = re.search(r"fromJSON\('(.*)'\)", job["if"])[1]
    assert set(json.loads(names)) == {FULL_TRAINING, approval}


def test_a_workflow_of_the_template_is_short(generated: Path):
    for path in (generated / ".github" / "workflows").glob("*.yml"):
        assert path.read_text(encoding="utf-8").count("\n") <= 30, path.name


def test_steps_of_the_blank_example_name_each_marked_place():
    blank = ROOT / "model_template" / "blank"
    _, _, steps = (blank / "README.md.jinja").read_text(encoding="utf-8").partition("\n1. ")
    steps, _, _ = steps.partition("\n## ")
    named = {name for name in re.findall(r"`([\w./]+)`", steps) if (blank / name).is_file()}
    named |= {"mlops.yaml.jinja"}  # Its name when it is generated has no suffix.
    listed = git(ROOT, "grep", "--files-with-matches", "Yours:", "--", str(blank))
    marked = {str((ROOT / name).relative_to(blank)) for name in listed.splitlines()}
    # What is the same in both examples has no mark: flights is complete.
    assert marked - {"README.md.jinja"} == named - set(SHARED)


def test_events():
    """Who asks for what: the events that the workflows' pages promise."""
    flights = ROOT / "model_template" / "flights" / ".github" / "workflows"
    gate, train = (
        load_yaml_text((flights / f"{name}.yml.jinja").read_text(encoding="utf-8"))["on"]
        for name in ("quality-gate", "train")
    )
    # Started by hand it would compare no policy, and satisfy no required check.
    assert set(gate) == {"pull_request"}
    # A label asks for full training or approves a policy, so it starts a run of its own; without it
    # the approval is gone.
    types = {"opened", "synchronize", "reopened", "labeled", "unlabeled"}
    assert set(gate["pull_request"]["types"]) == types
    assert set(train) == {"push", "schedule", "repository_dispatch", "workflow_dispatch"}
    assert train["workflow_dispatch"]["inputs"]["force"]["type"] == "boolean"
    assert train["repository_dispatch"]["types"] == ["retrain"]


def load_yaml_text(text: str):
    return YAML(typ="safe").load(re.sub(r"\[\[.*?\]\]", "x", text))


@pytest.mark.parametrize("name", SHARED)
def test_examples_share(name: str):
    one, other = (ROOT / "model_template" / example / name for example in EXAMPLES)
    assert one.read_bytes() == other.read_bytes()


# The answers.


def test_pins_are_the_commit_of_the_release(template: Path, tmp_path: Path):
    commit = git(template, "rev-parse", "v1.0.0")
    generated = copy(template, tmp_path / "generated")
    assert called(generated) == {
        f"{name}.yml": f"{SLUG}/.github/workflows/{name}.yml@{commit} # v1.0.0"
        for name in ("build", "quality-gate", "rescan", "train")
    }


def test_pins_stay_valid_when_the_template_is_no_repository(template: Path, tmp_path: Path):
    shutil.rmtree(template / ".git")
    generated = copy(template, tmp_path / "generated")
    for name, uses in called(generated).items():
        assert uses == f"{SLUG}/.github/workflows/{name}@main # main"


def test_pins_stay_valid_when_the_template_has_changes(template: Path, tmp_path: Path):
    (template / "model_template" / "flights" / "params.yaml").write_text("train: {}\n")
    copier.run_copy(
        str(template), tmp_path / "generated", defaults=True, quiet=True, vcs_ref="HEAD"
    )
    for uses in called(tmp_path / "generated").values():
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v1\.0\.0\S+", uses)


@pytest.mark.parametrize("example", EXAMPLES)
def test_answers_reach_their_places(template: Path, tmp_path: Path, example: str):
    generated = copy(
        template,
        tmp_path / "generated",
        example=example,
        name="churn-2",
        actions_repository="acme/mlops.actions",
        default_branch="release/next",
        runner="self-hosted",
    )
    assert config.load(generated / "mlops.yaml").config.name == "churn-2"
    assert all(uses.startswith("acme/mlops.actions/") for uses in called(generated).values())
    workflows = [load_yaml(path) for path in (generated / ".github/workflows").glob("*.yml")]
    assert {job["with"]["runner"] for w in workflows for job in w["jobs"].values()} == {
        "self-hosted"
    }
    # A pull request, too: judged by another branch's policy, it would be green for this one.
    for event in ("push", "pull_request"):
        (found,) = [w["on"][event]["branches"] for w in workflows if event in w["on"]]
        assert found == ["release/next"]
    answers = load_yaml(generated / ".copier-answers.yml")
    assert answers["_commit"] == "v1.0.0"
    assert answers["name"] == "churn-2"


SHELL = ['"; touch pwned; "', "$(touch pwned)", "a\nb", "${{ github.token }}", "[[ 7 * 7 ]]", ""]


@pytest.mark.parametrize("value", SHELL)
@pytest.mark.parametrize("question", ["name", "actions_repository", "default_branch", "runner"])
def test_answers_that_break_the_files_are_refused(
    template: Path, tmp_path: Path, question: str, value: str
):
    with pytest.raises(ValueError, match="Validation error for question"):
        copy(template, tmp_path / "generated", **{question: value})
    assert not (tmp_path / "generated").exists()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["Late", "late_flights", "-late", "late-", "a", "a" * 64])
def test_names_that_the_registry_refuses_are_refused(template: Path, tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="Lower-case letters, digits and dashes"):
        copy(template, tmp_path / "generated", name=name)


# Later versions.


def test_an_update_moves_the_pin_and_keeps_what_the_user_wrote(template: Path, tmp_path: Path):
    generated = copy(template, tmp_path / "generated", name="mine")
    git(generated, "init", "--quiet", "--initial-branch", "main")
    params = generated / "params.yaml"
    params.write_text(params.read_text().replace("max_iter: 200", "max_iter: 321"))
    (generated / "model" / "mine.py").write_text("ANSWER = 42\n")
    git(generated, "add", "--all")
    git(generated, "commit", "--quiet", "--message", "Mine")

    theirs = template / "model_template" / "flights"
    changed = (theirs / "params.yaml").read_text()
    assert "late_after: 15" in changed
    (theirs / "params.yaml").write_text(changed.replace("late_after: 15", "late_after: 20"))
    (theirs / "NEW.md").write_text("New in v1.1.0.\n")
    commit = release(template, "v1.1.0")
    copier.run_update(str(generated), defaults=True, overwrite=True, quiet=True)

    text = params.read_text()
    assert "max_iter: 321" in text
    assert "late_after: 20" in text
    assert "<<<<<<<" not in text
    assert (generated / "model" / "mine.py").read_text() == "ANSWER = 42\n"
    assert (generated / "NEW.md").exists()
    assert all(uses.endswith(f"@{commit} # v1.1.0") for uses in called(generated).values())
    assert config.load(generated / "mlops.yaml").config.name == "mine"
    assert load_yaml(generated / ".copier-answers.yml")["_commit"] == "v1.1.0"
