"""`mlops-actions local` on a small consumer of a small project that stands for this one."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.local import act, run_event, wiring

FIXTURES = Path(__file__).parent / "fixtures"
pytestmark = pytest.mark.slow


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def act_program():
    return act.find()[0]


@pytest.fixture(autouse=True)
def project(monkeypatch, tmp_path, act_program):
    folder = tmp_path / "project"
    shutil.copytree(FIXTURES / "project", folder)
    monkeypatch.setattr(wiring, "CHECKOUT", folder)
    monkeypatch.setenv("MLOPS_ACT", act_program)  # Go's cache moves with XDG_CACHE_HOME.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RUNNER_TOOL_CACHE", raising=False)
    return folder


@pytest.fixture
def consumer(tmp_path):
    folder = tmp_path / "consumer"
    shutil.copytree(FIXTURES / "consumer", folder)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "First")
    return folder


def state(run):
    lines = run.git("show", "mlops-state:versions.txt").splitlines()
    return [line.split()[0] for line in lines]


def test_a_push_runs_both_jobs_and_the_second_sees_what_the_first_registered(consumer, monkeypatch):
    monkeypatch.setenv("LEAK", "from the shell")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    head = git(consumer, "rev-parse", "HEAD")

    first = run_event(consumer, "push", secrets={"ENV": "A=1\nB=two"})

    assert first.code == 0, first.log
    assert {key: job.result for key, job in first.jobs.items()} == {
        "train": "success",
        "train/model": "success",
        "train/verdict": "success",
        "after": "success",
    }
    assert first.outputs["train"] == {"version": "1", "verdict": "blessed"}
    assert first.outputs["train/model"] == {"rows": "3"}
    assert first.outputs["after"] == {"seen": "1"}
    assert first.steps["train/verdict/publish"]["version"] == "1"
    assert state(first) == [head]
    assert (first.artifact("handover-late") / "model.txt").read_text() == "a,1\nb,2\nc,3\n"
    assert first.summaries == {"train-train-model-train": "# Trained late\n"}
    assert [note.message for note in first.annotations] == ["trained"]

    # Steps see a runner's environment: no variable of this shell, no terminal, our token only.
    assert "secret of 9 characters" in first.log
    assert "leaked=nothing path=nothing" in first.log
    assert "] a pipe\n" in first.log
    assert f"event push at refs/heads/main, {head}" in first.log
    assert first.event["after"] == head
    assert first.event["repository"]["default_branch"] == "main"

    second = run_event(consumer, "push")

    assert second.outputs["train"]["version"] == "2"
    assert state(second) == [head, head]
    assert "runs=2" in second.log
    assert second.folder != first.folder
    assert (first.folder.parents[1] / "latest").resolve() == second.folder

    # The user's repository is as it was.
    assert git(consumer, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(consumer, "status", "--porcelain") == ""
    assert git(consumer, "rev-parse", "HEAD") == head
    result = json.loads((second.folder / "result.json").read_text())
    assert result["train/model"]["result"] == "success"
    names = [step["name"] for step in result["train/model"]["steps"] if "/" not in step["id"]]
    assert names == ["actions/checkout", "Train the model", "actions/upload-artifact"]


def test_a_failing_step_keeps_its_last_words_and_the_verdict_still_runs(consumer, capsys):
    (consumer / "data.csv").write_text("a,1\nb,broken\n")

    run = run_event(consumer, "push")

    assert run.code == 1
    assert run.jobs["train/model"].result == "failure"
    assert run.jobs["train/verdict"].result == "failure"
    assert run.jobs["train"].result == "failure"
    error = run.annotations[0]
    assert (error.level, error.file, error.line) == ("error", "data.csv", 2)
    assert error.message == "row 2 is broken"
    shown = capsys.readouterr().err
    assert "| the last words" in shown
    assert "what is not committed yet" in shown
    with pytest.raises(Failure):
        run.git("rev-parse", "--verify", "mlops-state")


def test_a_pull_request_is_the_merge_with_its_base_and_every_leg_is_told_apart(consumer):
    git(consumer, "checkout", "--quiet", "-b", "feature")
    (consumer / "new.txt").write_text("new\n")
    git(consumer, "add", ".")
    git(consumer, "commit", "--quiet", "-m", "Second")
    head = git(consumer, "rev-parse", "HEAD")

    run = run_event(consumer, "pull_request", labels=["full-training"])

    assert run.code == 0, run.log
    assert {"gate-1/model", "gate-1/verdict", "gate-2/model", "gate-2/verdict"} <= set(run.jobs)
    assert run.jobs["gate-1"].matrix == {"model": "late"}
    request = run.event["pull_request"]
    assert run.event["number"] == request["number"] == 1
    assert request["head"]["sha"] == head
    assert request["head"]["repo"]["full_name"] == run.event["repository"]["full_name"]
    assert request["base"]["ref"] == "main"
    assert request["base"]["sha"] == git(consumer, "rev-parse", "main")
    assert [label["name"] for label in request["labels"]] == ["full-training"]
    merged = run.git("rev-parse", "refs/pull/1/merge")
    assert run.git("rev-list", "--parents", "-1", merged).split()[1:] == [
        request["base"]["sha"],
        head,
    ]
    assert f"event pull_request at refs/pull/1/merge, {merged}" in run.log
    assert [comment["body"] for comment in run.comments] == ["a report", "a report"]
    assert run.comments[0]["user"]["type"] == "Bot"

    # What a pull request wrote is found by the next run; nothing else was written.
    again = run_event(consumer, "pull_request")
    assert again.event["number"] == 1
    assert len(again.comments) == 4
    with pytest.raises(Failure):
        run.git("rev-parse", "--verify", "mlops-state")


@pytest.mark.parametrize("outside", [{"fork": True}, {"actor": "dependabot[bot]"}])
def test_a_run_from_outside_gets_no_secrets_and_a_fork_cannot_write(consumer, outside):
    git(consumer, "checkout", "--quiet", "-b", "feature")

    run = run_event(consumer, "pull_request", secrets={"ENV": "A=1"}, **outside)

    assert run.code == 0, run.log
    from_fork = bool(outside.get("fork"))
    assert ("comment: 403 Resource not accessible by integration" in run.log) is from_fork
    assert (run.comments == []) is from_fork  # Dependabot has the rights that the job is granted.
    head = run.event["pull_request"]["head"]["repo"]
    own = run.event["repository"]["full_name"]
    assert (head["full_name"] != own) is from_fork


def test_inputs_reach_a_dispatch_and_the_payload(consumer):
    asked = run_event(consumer, "workflow_dispatch", inputs={"model": "early"})
    assert asked.artifact("handover-early").is_dir()

    sent = run_event(consumer, "repository_dispatch", inputs={"model": "never"}, activity="drift")
    assert sent.artifact("handover-never").is_dir()
    assert sent.event["action"] == "drift"

    planned = run_event(consumer, "schedule")
    assert planned.artifact("handover-late").is_dir()
    assert planned.outputs["train"]["version"] == "3"


def test_two_pushes_at_once_both_survive(consumer):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: run_event(consumer, "push"), range(2)))

    assert [run.code for run in runs] == [0, 0], runs[0].log + runs[1].log
    assert len({run.folder for run in runs}) == 2
    assert sorted(run.outputs["train"]["version"] for run in runs) == ["1", "2"]
    assert len(state(runs[0])) == 2


def test_an_action_without_a_double_is_named_with_the_option_that_helps(consumer, tmp_path):
    path = consumer / ".github/workflows/train.yml"
    text = path.read_text()
    line = 1 + text.count("\n")
    path.write_text(text.rstrip("\n") + "\n      - uses: someone/thing/part@v3\n")
    with pytest.raises(ConfigurationError) as caught:
        run_event(consumer, "push")
    assert "--action someone/thing=DIR" in caught.value.message
    assert caught.value.line == line

    part = tmp_path / "thing" / "part"
    part.mkdir(parents=True)
    (part / "action.yml").write_text(
        "name: Thing\nruns:\n  using: composite\n  steps:\n"
        '    - run: echo "stands for a thing"\n      shell: bash\n'
    )
    run = run_event(consumer, "push", actions={"someone/thing": tmp_path / "thing"})
    assert run.code == 0, run.log
    assert "stands for a thing" in run.log


def test_a_name_is_uploaded_once_in_a_run(consumer):
    path = consumer / ".github/workflows/train.yml"
    sha = "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"
    step = (
        f"      - uses: actions/upload-artifact@{sha}\n"
        "        with:\n          name: handover-late\n          path: data.csv\n"
    )
    checkout = "      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1\n"
    path.write_text(path.read_text() + checkout + step)

    run = run_event(consumer, "push")

    assert run.code == 1
    assert run.jobs["after"].result == "failure"
    assert any("409" in note.message for note in run.annotations)
    assert (run.artifact("handover-late") / "model.txt").is_file()


def test_a_time_limit_ends_the_run(consumer):
    path = consumer / ".github/workflows/slow.yml"
    path.write_text(
        "on: push\njobs:\n  wait:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: sleep 60\n"
    )

    run = run_event(consumer, "push", workflow="slow.yml", timeout=3)

    assert run.code == 1
    assert any("ended after 3 s" in problem for problem in run.problems)
