"""What is read without MLflow is what MLflow itself answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlops_actions.errors import Failure
from mlops_actions.registry.database import Database
from mlops_actions.registry.store import quiet

NAME = "tiny"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    quiet()
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    made = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = made.create_experiment(NAME, artifact_location="mlflow-artifacts:/tiny")
    for name in (NAME, "other"):
        made.create_registered_model(name)
        for number in range(3):
            run = made.create_run(experiment)
            tags = {"mlops.number": f"{name} {number}", "long": "x" * 5000}
            made.create_model_version(
                name, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=tags
            )
    made.set_registered_model_alias(NAME, "champion", "1")
    made.set_registered_model_alias(NAME, "challenger", "2")
    made.set_model_version_tag(NAME, "2", "mlops.number", "changed")
    made.delete_model_version(NAME, "3")
    return made


@pytest.fixture
def database(client: MlflowClient) -> Database:
    return Database(path=Path(client.tracking_uri.removeprefix("sqlite:///")), place="The registry")


def test_aliases(client: MlflowClient, database: Database) -> None:
    found = client.get_registered_model(NAME).aliases
    assert database.aliases(NAME) == {alias: str(version) for alias, version in found.items()}
    assert database.aliases(NAME) == {"champion": "1", "challenger": "2"}
    assert database.aliases("unknown") == {}


@pytest.mark.parametrize(("name", "version"), [(NAME, "1"), (NAME, "2"), ("other", "3")])
def test_a_version(client: MlflowClient, database: Database, name: str, version: str) -> None:
    found = client.get_model_version(name, version)
    run_id, source, tags = database.version(name, version)
    assert (run_id, source, tags) == (found.run_id, found.source, found.tags)
    assert database.artifacts_of(run_id) == client.get_run(run_id).info.artifact_uri


@pytest.mark.parametrize(("name", "version"), [(NAME, "3"), (NAME, "9"), ("unknown", "1")])
def test_a_version_that_is_not_there(database: Database, name: str, version: str) -> None:
    with pytest.raises(Failure, match=f"there is no version {version} of {name}"):
        database.version(name, version)


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_a_database_that_somebody_has_broken(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mlflow.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Failure, match=r"The registry cannot be read: "):
        Database(path=path, place="The registry").aliases(NAME)
    assert path.exists() == (content is not None)
