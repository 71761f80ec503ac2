"""Which image is in use, and that what is fetched is that one."""

from __future__ import annotations

from pathlib import Path

import pytest
from images_in_use import HOST, MODEL, Repository

from mlops_actions import cli, evidence, results
from mlops_actions.build import layout
from mlops_actions.scan.image import read_layout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return Repository(tmp_path, monkeypatch)


def deployed(*options: str) -> int:
    return cli.main(["deployed", "--output", "work", *options])


def test_the_image_is_fetched_and_described(repository):
    digest = repository.push("1")
    assert deployed() == 0
    work = repository.folder / "work"
    assert layout.read(work / "image").manifest == digest
    # What describes it is enough to tell which image a report is about, and has no layer.
    assert read_layout(work / "layout").manifest == digest
    assert len(list((work / "layout/blobs/sha256").iterdir())) == 2
    found = evidence.read(work / "deployed.json", "deployed")
    assert (found["version"], found["alias"], found["digest"]) == ("1", "challenger", digest)
    assert repository.output("digest") == digest
    assert repository.output("reference") == f"{HOST}@{digest}"
    assert (work / "trivy.yaml").is_file()
    assert (work / "nothing.trivyignore").is_file()


def test_nothing_was_ever_recorded(repository):
    assert deployed() == 0
    assert repository.output("model") == MODEL
    assert repository.output("digest") is None
    assert repository.asked == 0  # Not worth asking the registry.


@pytest.mark.parametrize(
    ("aliases", "asked", "version"),
    [
        ({"challenger": "2"}, "auto", "2"),
        ({"champion": "1", "challenger": "2"}, "auto", "1"),
        ({"champion": "1", "challenger": "2"}, "challenger", "2"),
        ({"challenger": "7"}, "auto", "2"),  # Blessed, and not built yet.
        ({"staging": "1", "champion": "2"}, "staging", "1"),
    ],
)
def test_which_is_in_use(repository, aliases, asked, version):
    repository.push("1")
    repository.push("2")
    repository.registry.known = aliases
    assert deployed("--alias", asked) == 0
    assert repository.output("version") == version


@pytest.mark.parametrize(
    ("aliases", "asked", "message"),
    [
        ({}, "auto", "no version with the alias champion or challenger"),
        ({"champion": "2"}, "staging", "no version with the alias staging"),
        ({"champion": "1"}, "auto", "version 1 (champion) has no image"),
    ],
)
def test_an_alias_that_leads_nowhere_is_no_pass(repository, capsys, aliases, asked, message):
    repository.push("2")
    repository.registry.known = aliases
    assert deployed("--alias", asked) == 1
    assert message in capsys.readouterr().err
    assert repository.output("digest") is None


def test_an_image_that_is_gone(repository, capsys):
    digest = repository.push("1")
    (repository.images / digest.removeprefix("sha256:")).rename(repository.images / "gone")
    assert deployed() == 1
    assert "cannot be fetched: " in capsys.readouterr().err


def test_a_registry_that_serves_another_image(repository, capsys):
    first, second = repository.push("1"), repository.push("2")
    place = repository.images / first.removeprefix("sha256:")
    place.rename(repository.images / "away")
    (repository.images / second.removeprefix("sha256:")).rename(place)
    assert deployed() == 1
    assert "the registry has another image" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [{"labelled": "9"}, {"model": "other"}])
def test_an_image_of_another_version(repository, capsys, labels):
    repository.push("1", **labels)
    assert deployed() == 1
    assert "it is of another version" in capsys.readouterr().err


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"digest": f"sha256:{'a' * 64}"},
        {"digest": f"sha256:{'a' * 64}", "reference": "localhost/x:latest"},
        {"digest": f"sha256:{'a' * 64}", "reference": f"localhost/x@sha256:{'b' * 64}"},
        {"digest": f"sha256:{'a' * 64}", "reference": f"--insecure@sha256:{'a' * 64}"},
    ],
)
def test_a_record_that_names_no_image(repository, capsys, record):
    repository.record("1", **record)
    assert deployed() == 1
    assert "names no image" in capsys.readouterr().err


def test_what_an_earlier_run_left_does_not_stay(repository):
    results.work_folder(repository.folder / "work")
    (repository.folder / "work" / "deployed.json").write_text("{}")
    assert deployed() == 0
    assert not (repository.folder / "work" / "deployed.json").exists()
