"""The project environment: what user code gets to see, and how it ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from mlops_actions import clock, project
from mlops_actions.config import Project, parse
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.project import CommandFailed, Environment

MINIMAL = """\
name: tiny
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment whose Python is ours: enough to run commands in."""
    folder = tmp_path / "environment"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return Environment(folder=folder, digest="0" * 64, python_version="3.11.7")


def loaded(folder: Path) -> Project:
    return parse(MINIMAL, folder / "mlops.yaml")


def run(environment: Environment, folder: Path, script: str, **more: object) -> float:
    return project.run_command(
        environment, [sys.executable, "-c", script], cwd=folder, label="Test", **more
    )


def test_user_code_sees_no_token(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ENV",
        "GITHUB_OUTPUT", "GITHUB_PATH", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY",
        "MLOPS_ENV", "PYTHONPATH",
    ):  # fmt: skip
        monkeypatch.setenv(name, "KEY=secret" if name == "MLOPS_ENV" else "secret")
    monkeypatch.setenv("GITHUB_SHA", "abc")
    run(environment, tmp_path, "import os; open('seen', 'w').write('\\n'.join(os.environ))")
    seen = set((tmp_path / "seen").read_text().split())
    assert {"PATH", "GITHUB_SHA", "KEY"} <= seen
    assert not [name for name in seen if "TOKEN" in name or "PASSWORD" in name or "SECRET" in name]
    assert not seen & {"GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "MLOPS_ENV", "PYTHONPATH"}


def test_the_secret_env_is_masked_before_anything_else(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("MLOPS_ENV", "# a comment\nAWS_KEY=s3cr=t\n\nURL=http://x")
    assert environment.variables()["AWS_KEY"] == "s3cr=t"
    said = capsys.readouterr().err
    assert "::add-mask::s3cr=t" in said
    assert "::notice" not in said


def test_a_short_value_of_the_secret_env_is_named_and_not_masked(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project._say_unmasked.cache_clear()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("MLOPS_ENV", "OMP_NUM_THREADS=4\nAWS_KEY=s3cr=t\nEMPTY=\nDEBUG=zqz")
    for _ in range(2):
        given = environment.variables()
        assert given["OMP_NUM_THREADS"] == "4"
        assert given["EMPTY"] == ""
    said = capsys.readouterr().err
    assert obeyed(said).count("::add-mask::s3cr=t") == 2
    (notice,) = [line for line in said.splitlines() if line.startswith("::notice")]
    assert "OMP_NUM_THREADS, DEBUG" in notice
    assert "zqz" not in said
    assert "add-mask::4" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no equals sign", "line 1 is not KEY=VALUE"),
        ("A=1\n2B=3", "line 2 is not KEY=VALUE"),
        ("GITHUB_ENV=/x/y", "GITHUB_ENV is set by us"),
        ("MLFLOW_TRACKING_URI=http://x", "MLFLOW_TRACKING_URI is set by us"),
    ],
)
def test_a_wrong_secret_env_is_said_without_its_value(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("MLOPS_ENV", text)
    with pytest.raises(ConfigurationError, match=message) as problem:
        environment.variables()
    assert "equals sign" not in str(problem.value)
    assert "/x/y" not in str(problem.value)


def test_a_command_that_fails_says_its_code(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="failed with exit code 7"):
        run(environment, tmp_path, "raise SystemExit(7)")


def test_a_command_that_is_killed_says_by_what(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="killed by SIGKILL"):
        run(environment, tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_a_command_that_hangs_is_ended_with_its_children(
    environment: Environment, tmp_path: Path
) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(CommandFailed, match="stopped after its time limit of 2 s"):
        run(environment, tmp_path, script, timeout=2)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":  # Ended; whoever adopted it has not looked yet.
            return
        time.sleep(0.1)
    pytest.fail("the child outlived the command")


def test_a_program_that_does_not_exist_is_named(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no-such-program is not a program"):
        project.run_command(environment, "no-such-program x", cwd=tmp_path, label="Test")


@pytest.mark.parametrize(
    ("mode", "reason"), [(0o644, "Permission denied"), (0o755, "Exec format error")]
)
def test_a_program_that_cannot_be_run_says_why(
    environment: Environment, tmp_path: Path, mode: int, reason: str
) -> None:
    program = tmp_path / "make.sh"
    program.write_text("echo made\n")
    program.chmod(mode)
    with pytest.raises(CommandFailed, match=f"make.sh cannot be run: {reason}"):
        project.run_command(environment, "./make.sh", cwd=tmp_path, label="Test")


@pytest.mark.parametrize(
    "command",
    [
        "a && b", "a | b", "a > b", "a ; b", "a; b", "a;b", "a&&b", "a 2>&1", "a>b", "a < b", "a &",
        "", " ", "a 'b",
    ],
)  # fmt: skip
def test_a_command_written_for_a_shell_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shell|cannot be read"):
        project.split_command(command)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fit --note 'a; b' # c", ["fit", "--note", "a; b", "#", "c"]),
        ("get 'http://x/?a=1&b=2'", ["get", "http://x/?a=1&b=2"]),
        ("a '' x", ["a", "", "x"]),
        ("a --b=$HOME *.csv", ["a", "--b=$HOME", "*.csv"]),
    ],
)  # fmt: skip
def test_what_is_quoted_is_a_word(command: str, words: list[str]) -> None:
    assert project.split_command(command) == words


def test_shell_characters_are_words(environment: Environment, tmp_path: Path) -> None:
    hostile = '"; touch pwned; "$(touch pwned)`touch pwned`\ntouch pwned'
    script = "import sys; open('got', 'w').write(sys.argv[1])"
    words = [sys.executable, "-c", script, hostile]
    project.run_command(environment, words, cwd=tmp_path, label="Test")
    assert (tmp_path / "got").read_text() == hostile
    assert not (tmp_path / "pwned").exists()


def obeyed(shown: str) -> list[str]:
    """Give the lines that the runner reads as commands, while they are not stopped."""
    found, word = [], ""
    for line in shown.splitlines():
        if line == f"::{word}::":
            word = ""
        elif line.startswith("::stop-commands::"):
            word = word or line.removeprefix("::stop-commands::")
        elif line.startswith("::") and not word:
            found.append(line)
    assert not word, "commands stay off"
    return found


HOSTILE = """
import sys
for stream in (sys.stdout, sys.stderr):
    print("::error::forged", file=stream)
    print("::stop-commands::x", file=stream)
    print("partial", end="", file=stream, flush=True)
"""


@pytest.fixture
def on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("MLOPS_ENV", "KEY=s3cret")


@pytest.mark.usefixtures("on_github")
def test_what_a_command_prints_is_no_workflow_command(
    environment: Environment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(environment, tmp_path, HOSTILE)
    out, shown = capfd.readouterr()
    assert out == ""  # One stream, or the runner may read the end of it before the rest.
    assert "\n::error::forged\n" in shown
    assert obeyed(shown) == ["::add-mask::s3cret"]


@pytest.mark.usefixtures("on_github")
def test_what_scoring_prints_is_no_workflow_command(
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(project, "RUNNER", tmp_path / "runner.py")
    project.RUNNER.write_text(f"{HOSTILE}print(file=sys.stderr)\nraise SystemExit(3)\n")
    with pytest.raises(Failure, match="partial"):
        project.ask_runner(environment, "score", cwd=tmp_path)
    out, shown = capfd.readouterr()
    assert out == ""
    assert "forged" in shown
    assert obeyed(shown) == ["::add-mask::s3cret"]


@pytest.mark.usefixtures("on_github")
def test_what_a_timed_model_prints_is_no_workflow_command(
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(project, "RUNNER", tmp_path / "runner.py")
    project.RUNNER.write_text(HOSTILE.replace("(sys.stdout, sys.stderr)", "(sys.stderr,)"))
    text = MINIMAL.replace("gate: {", "gate: {latency: {max_row: 10}, ")
    timed = parse(text, tmp_path / "mlops.yaml")
    with pytest.raises(Failure, match="its process ended"):
        clock.measure(timed, {"candidate": (environment, tmp_path)}, ["a.csv"])
    shown = capfd.readouterr().err
    assert "forged" in shown
    assert obeyed(shown) == ["::add-mask::s3cret"]


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv of the test's own; its script is in this file."""
    program = tmp_path / "uv"
    monkeypatch.setattr(project.uv, "path", lambda: program)
    return program


def install(uv: Path, script: str) -> None:
    uv.write_text(f"#!{sys.executable}\nimport sys, time\n{script}")
    uv.chmod(0o755)
    project._run_uv(["sync"], cwd=uv.parent, extra={})


@pytest.mark.usefixtures("on_github")
def test_what_uv_says_is_seen_as_it_says_it(uv: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(uv, "print('Resolved 3 packages')\nprint('::error::of a build', end='')")
    shown = capfd.readouterr().err
    assert "Resolved 3 packages" in shown
    assert obeyed(shown) == [
        "::add-mask::s3cret", "::group::The project environment: uv sync", "::endgroup::",
    ]  # fmt: skip


def test_why_uv_failed_is_said(uv: Path) -> None:
    with pytest.raises(
        Failure, match=r"cannot be made: uv sync said:\nThe lockfile is out of date"
    ):
        install(uv, "sys.exit('The lockfile is out of date')")


def test_uv_has_a_time_limit(uv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_UV_TIMEOUT", 1)
    started = time.monotonic()
    with pytest.raises(Failure, match="stopped after its time limit of 1 s"):
        install(uv, "time.sleep(600)")
    assert time.monotonic() - started < 60


def test_no_lock_and_no_requirements_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"neither uv.lock nor requirements.txt"):
        project.prepare(loaded(tmp_path))


def test_a_lock_without_its_project_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    with pytest.raises(ConfigurationError, match=r"uv.lock: uv.lock needs pyproject.toml"):
        project.prepare(loaded(tmp_path))


def test_the_lock_of_a_workspace_is_said_not_to_count(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    inner = tmp_path / "models" / "late"
    inner.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=rf"of a workspace, in {tmp_path}, does not count"):
        project.prepare(loaded(inner))


def test_a_remote_is_found_above_the_model(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "models" / "a").mkdir(parents=True)
    assert project.dvc_remote(tmp_path / "models" / "a") is None
    (tmp_path / ".dvc" / "config").write_text("['remote \"store\"']\n    url = s3://x\n")
    assert project.dvc_remote(tmp_path / "models" / "a") == "store"


def test_a_remote_above_the_repository_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"store\"']\n    url = s3://x\n")
    inner = tmp_path / "repository"
    (inner / ".git").mkdir(parents=True)
    assert project.dvc_remote(inner) is None


def _installed(environment: Environment, **packages: str) -> None:
    site = environment.folder / "lib" / "python3.11" / "site-packages"
    for name, version in packages.items():
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)


def test_a_champion_with_the_same_pins_shares_the_environment(
    environment: Environment, tmp_path: Path
) -> None:
    _installed(environment, scikit_learn="1.9.1", polars="2.1.0")
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.9.1\npolars[x]==2.1.0 # x\n")
    assert project.prepare_for_model(tmp_path, loaded(tmp_path), environment) is environment


@pytest.mark.parametrize("line", ["scikit-learn==1.8.0", "torch==2.0", "scikit-learn>=1.9"])
def test_a_champion_with_other_pins_does_not(
    environment: Environment, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(environment, scikit_learn="1.9.1")
    (tmp_path / "requirements.txt").write_text(line)

    def asked(arguments: list[str], **_: object) -> None:
        raise Failure(f"asked for {arguments[0]}")

    monkeypatch.setattr(project, "_run_uv", asked)
    monkeypatch.setenv("RUNNER_TOOL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Failure, match="asked for venv"):
        project.prepare_for_model(tmp_path, loaded(tmp_path), environment)
