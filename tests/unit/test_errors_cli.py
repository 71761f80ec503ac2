import argparse
import sys
import types
from pathlib import Path

import pytest

from mlops_actions import cli, github, results
from mlops_actions.errors import ConfigurationError, Failure


@pytest.fixture(autouse=True)
def off_github(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def command(monkeypatch):
    """Put a command in place of ``schema`` whose ``run`` does what the test wants."""

    def install(run, add_arguments=lambda _: None):
        module = types.ModuleType("mlops_actions.schema", "Do it.")
        module.run = run
        module.add_arguments = add_arguments
        monkeypatch.setitem(sys.modules, "mlops_actions.schema", module)

    return install


def fail_with(error):
    def run(_):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Failure("It broke."), "It broke."),
        (Failure("It broke.", file="a.yaml"), "a.yaml: It broke."),
        (Failure("It broke.", file="a.yaml", line=3), "a.yaml:3: It broke."),
        (Failure("It broke.", file="a.yaml", line=3, column=7), "a.yaml:3:7: It broke."),
    ],
)
def test_an_error_says_where(error, text):
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "code"),
    [(Failure("No."), 1), (ConfigurationError("No."), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(command, error, code, capsys):
    command(fail_with(error))
    assert cli.main(["schema"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_the_commands_own_code_is_given_on(command):
    command(lambda _: 1)
    assert cli.main(["schema"]) == 1


def test_a_bug_of_ours_is_a_traceback(command):
    command(fail_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["schema"])


def test_what_the_operating_system_refuses_is_one_error_with_the_file(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("RUNNER_DEBUG", raising=False)
    command(lambda _: tmp_path.read_text())
    assert cli.main(["schema"]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory.\n"


def test_where_the_operating_system_refused_is_said_to_who_debugs(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("RUNNER_DEBUG", "1")
    command(lambda _: tmp_path.read_text())
    assert cli.main(["schema"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_a_library_is_not_the_operating_systems(command):
    command(fail_with(OSError("no number")))
    with pytest.raises(OSError, match="no number"):
        cli.main(["schema"])


def test_an_error_is_an_annotation_on_github(command, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    command(fail_with(Failure("100 %\nwrong", file="a,b.yaml", line=3)))
    assert cli.main(["schema"]) == 1
    assert capsys.readouterr().err == "::error file=a%2Cb.yaml,line=3::100 %25%0Awrong\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["schema", "--nonsense"], ["--directory"], ["--dir", ".", "schema"]],
)
def test_a_wrong_call_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: mlops-actions" in capsys.readouterr().err


def test_every_command_is_in_the_help(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for name, summary in cli.COMMANDS.items():
        assert name in out
        assert summary.endswith(".")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: mlops-actions {name}" in capsys.readouterr().out


def test_a_command_runs_in_its_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    seen = []

    def run(arguments: argparse.Namespace) -> int:
        seen.append((Path.cwd(), arguments.value))
        return 0

    command(run, lambda parser: parser.add_argument("--value"))
    # The folder is called like a command, which must not be taken for the command.
    assert cli.main(["--directory", "train", "schema", "--value", "gate"]) == 0
    assert seen == [(tmp_path / "train", "gate")]


@pytest.mark.parametrize("folder", ["..", "../other", "/", "gone", "a-file", "link"])
def test_a_folder_outside_the_repository_is_refused(folder, tmp_path, monkeypatch, capsys):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a-file").touch()
    (workspace / "link").symlink_to(tmp_path)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(workspace))
    assert cli.main(["--directory", folder, "schema"]) == 2
    assert "working directory" in capsys.readouterr().err


def test_messages_go_to_standard_error(capsys):
    github.info("Hello.")
    github.warning("Careful.", file="a.csv", line=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Hello.\nwarning: a.csv:2: Careful.\n"


def test_a_work_folder_takes_away_only_what_it_made(tmp_path):
    folder = tmp_path / "results"
    results.work_folder(folder)
    (folder / "model").mkdir()
    results.work_folder(folder)
    assert [path.name for path in folder.iterdir()] == [results.MARKER]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("a\n")
    for taken in (tmp_path / "data", tmp_path / "data" / "rows.csv", tmp_path):
        with pytest.raises(ConfigurationError):
            results.work_folder(taken)
    assert (tmp_path / "data" / "rows.csv").read_text() == "a\n"
