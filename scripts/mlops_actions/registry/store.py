"""Everything that knows MLflow: a registry on a server, or embedded in the branch ``mlops-state``.

The embedded store is an MLflow SQLite database with its artifacts beside it. A client on bare
SQLite cannot move artifacts at ``mlflow-artifacts:/``, so files are copied here, by us.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlops_actions import github
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.exported_run import ExportedRun
from mlops_actions.registry.database import Database

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlops_actions.state import Checkout

CHAMPION, CHALLENGER = "champion", "challenger"
EVIDENCE = "mlops"  # Folder among the artifacts of a version's run.
MAX_EMBEDDED_FILE = 50_000_000  # Bytes; GitHub warns about a file above 50 MB and refuses 100 MB.
_SCHEME = "mlflow-artifacts:/"
_DATABASE = "registry/mlflow.db"
_ARTIFACTS = "registry/artifacts"
_BATCH = 900  # MLflow takes 1000 metrics or 100 parameters or tags in one call.
_SMALL_BATCH = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version of a model."""

    name: str
    version: str
    run_id: str
    source: str
    tags: Mapping[str, str]


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turn what MLflow raises into one line about ``place``."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as problem:
        text = str(problem)
        lines = text.strip().splitlines()
        status = getattr(problem, "get_http_status_code", lambda: None)()
        if refused := re.search(r"(?:^|\s)(401|403)\b", text):  # The other says 500 of it.
            status = int(refused[1])
        if status == 401:  # noqa: PLR2004
            reason = (
                "it answered 401: the secrets MLFLOW_TRACKING_TOKEN (to read) or "
                "MLFLOW_WRITE_TOKEN (to register), or their USERNAME and PASSWORD, are missing "
                "or wrong"
            )
        elif status == 403:  # noqa: PLR2004
            reason = "it answered 403: these credentials lack the right"
        elif "timed out" in text.lower() or "timeout" in text.lower():
            reason = "it does not answer in time"
        elif "Max retries exceeded" in text or "Connection" in text:
            reason = "it cannot be reached"
        else:
            reason = lines[0] if lines else type(problem).__name__
        raise Failure(f"{place}: {reason[:500]}.") from None


class Registry(abc.ABC):
    """What the stages ask of a registry. Every method raises :class:`Failure` in one line."""

    kind: str
    place: str

    def __init__(self, place: str) -> None:
        self.place = place

    @functools.cached_property
    @abc.abstractmethod
    def _client(self) -> MlflowClient: ...

    @abc.abstractmethod
    def aliases(self, name: str) -> dict[str, str]:
        """Give alias -> version of a model; empty when the model is not registered."""

    @abc.abstractmethod
    def version(self, name: str, version: str) -> Version:
        """Look a version up."""

    @abc.abstractmethod
    def download_model(self, version: Version, folder: Path) -> None:
        """Write the model's files into ``folder``."""

    @abc.abstractmethod
    def download_evidence(self, version: Version, folder: Path) -> None:
        """Write the evidence kept with a version into ``folder``; nothing, when it has none."""

    @abc.abstractmethod
    def _artifact_location(self, name: str) -> str | None: ...

    @abc.abstractmethod
    def _store_model(self, model_id: str, location: str, folder: Path) -> None: ...

    @abc.abstractmethod
    def _store_artifacts(self, run_id: str, folder: Path, path: str = "") -> None: ...

    def publish(
        self,
        *,
        name: str,
        run: ExportedRun,
        folder: Path,
        kept: Path,
        tags: Mapping[str, str],
        alias: str,
        record: Callable[[Version], Path],
    ) -> Version:
        """Import a finished run, register its model and move ``alias`` to the new version, last.

        ``folder`` holds ``model/`` and, optionally, ``artifacts/``; ``kept`` is its evidence; all
        were checked before. ``record`` gives a folder with the evidence of the new version itself.
        What fails on the way leaves every alias where it was, and the run ``FAILED``.
        """
        if run.model is None:
            raise Failure("The exported run has no model to register.")
        with _explained(self.place):
            experiment_id = self._experiment(name)
            made = self._client.create_run(
                experiment_id, start_time=run.start, run_name=run.name or None
            )
            run_id: str = made.info.run_id
            with self._ended(run_id):
                model_id, location = self._import_run(experiment_id, run_id, run, tags)
                self._store_model(model_id, location, folder / "model")
                if (folder / "artifacts").is_dir():
                    self._store_artifacts(run_id, folder / "artifacts")
                self._store_artifacts(run_id, kept, EVIDENCE)
                self._client.finalize_logged_model(model_id, "READY")
                self._ensure_model(name)
                numbered = self._client.create_model_version(
                    name,
                    source=location,
                    run_id=run_id,
                    model_id=model_id,  # A server takes the address of a model only with it.
                    tags={**tags, "mlops.model_id": model_id},
                )
                version = self.version(name, str(numbered.version))
                self._store_artifacts(run_id, record(version), EVIDENCE)
                self._client.set_terminated(run_id, status="FINISHED", end_time=run.end)
                # Whoever follows the alias finds the whole chain: nothing may come after this.
                self._client.set_registered_model_alias(name, alias, version.version)
        return version

    @contextlib.contextmanager
    def _ended(self, run_id: str) -> Iterator[None]:
        """Leave no run behind that seems to go on, or to have gone well."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # The first error is the one to tell.
                self._client.set_terminated(run_id, status="FAILED")
            raise

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(
            self._client.create_experiment(name, artifact_location=self._artifact_location(name))
        )

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as problem:
            if problem.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _import_run(
        self, experiment_id: str, run_id: str, run: ExportedRun, tags: Mapping[str, str]
    ) -> tuple[str, str]:
        from mlflow.entities import (
            Dataset,
            DatasetInput,
            LoggedModelOutput,
            Metric,
            Param,
            RunTag,
        )

        assert run.model is not None  # noqa: S101 - publish asked.
        metrics = [
            Metric(key, item.value, item.timestamp, item.step)
            for key, history in run.metrics.items()
            for item in history
        ]
        params = [Param(key, value) for key, value in run.params.items()]
        run_tags = [RunTag(k, v) for k, v in {**run.tags, **tags}.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        for start in range(0, max(len(params), len(run_tags)), _SMALL_BATCH):
            end = start + _SMALL_BATCH
            self._client.log_batch(run_id, params=params[start:end], tags=run_tags[start:end])
        if run.datasets:
            inputs = [
                DatasetInput(Dataset(item.name, item.digest, "external", "{}"), [])
                for item in run.datasets
            ]
            self._client.log_inputs(run_id, inputs)
        model = self._client.create_logged_model(
            experiment_id, name=run.model.name, source_run_id=run_id, params=run.model.params
        )
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model.model_id, model.artifact_location


class EmbeddedRegistry(Registry):
    """The registry on the branch ``mlops-state``, in one checkout of it."""

    kind = "embedded"

    def __init__(self, checkout: Checkout) -> None:
        super().__init__("The embedded registry on the branch mlops-state")
        self._checkout = checkout
        checkout.bring([_DATABASE])
        self._database = Database(path=checkout.folder / _DATABASE, place=self.place)

    @functools.cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        database = self._database.path
        database.parent.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{database.resolve()}"
        with _explained(self.place):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)

    def aliases(self, name: str) -> dict[str, str]:
        """Read the aliases."""
        return self._database.aliases(name) if self._database.path.exists() else {}

    def version(self, name: str, version: str) -> Version:
        """Read a version."""
        run_id, source, tags = self._database.version(name, version)
        return Version(name=name, version=version, run_id=run_id, source=source, tags=tags)

    @staticmethod
    def exists(checkout: Checkout) -> bool:
        """Whether the branch holds a registry."""
        if not checkout.exists:
            return False
        listed = checkout.git("ls-tree", "--name-only", "HEAD", _DATABASE)
        return bool(listed.stdout.strip())

    def _local(self, location: str) -> Path:
        path = PurePosixPath(location.removeprefix(_SCHEME))
        if not location.startswith(_SCHEME) or path.is_absolute() or ".." in path.parts:
            raise Failure(f"{self.place} names files outside itself ({location}): it is damaged.")
        return self._checkout.folder / _ARTIFACTS / path

    def _bring(self, location: str) -> Path:
        path = self._local(location)
        self._checkout.bring([path.relative_to(self._checkout.folder).as_posix()])
        return path

    def download_model(self, version: Version, folder: Path) -> None:
        """Copy the model out of the branch."""
        path = self._bring(version.source)
        if not path.is_dir():
            raise Failure(f"{self.place} has no files of version {version.version}: it is damaged.")
        shutil.copytree(path, folder, dirs_exist_ok=True)

    def download_evidence(self, version: Version, folder: Path) -> None:
        """Copy the evidence out of the branch."""
        path = self._bring(f"{self._database.artifacts_of(version.run_id)}/{EVIDENCE}")
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True)

    def _artifact_location(self, name: str) -> str:
        return f"{_SCHEME}{name}"

    def _copy(self, folder: Path, target: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size > MAX_EMBEDDED_FILE:
                size = path.stat().st_size / 1e6
                raise Failure(
                    f"{path.relative_to(folder)} has {size:.0f} MB: the embedded registry keeps "
                    f"files up to {MAX_EMBEDDED_FILE / 1e6:.0f} MB. Log a smaller model, or set "
                    "the secret MLFLOW_TRACKING_URI to a server."
                )
        shutil.copytree(folder, target, dirs_exist_ok=True)

    def _store_model(self, model_id: str, location: str, folder: Path) -> None:
        del model_id
        self._copy(folder, self._local(location))

    def _store_artifacts(self, run_id: str, folder: Path, path: str = "") -> None:
        self._copy(folder, self._local(f"{self._database.artifacts_of(run_id)}/{path}"))


class ServerRegistry(Registry):
    """The registry of an MLflow server."""

    kind = "server"

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(
                "MLFLOW_TRACKING_URI: expected the address of a server, http:// or https://."
            )
        if parts.username or parts.password:
            raise ConfigurationError(
                "MLFLOW_TRACKING_URI carries credentials; use MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            )
        # MLflow's own limits (7 tries, 120 s each) would hold a job for a quarter of an hour.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        for name in ("TOKEN", "USERNAME", "PASSWORD"):
            _tidy(f"MLFLOW_TRACKING_{name}")
        os.environ["MLFLOW_TRACKING_URI"] = uri
        super().__init__(f"The MLflow server {parts.hostname}")
        self._uri = uri

    @functools.cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def aliases(self, name: str) -> dict[str, str]:
        """Ask for the aliases."""
        from mlflow.exceptions import MlflowException

        with _explained(self.place):
            try:
                found = self._client.get_registered_model(name)
            except MlflowException as problem:
                if problem.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise
            return {alias: str(version) for alias, version in found.aliases.items()}

    def version(self, name: str, version: str) -> Version:
        """Ask for a version."""
        with _explained(self.place):
            found = self._client.get_model_version(name, version)
        return Version(
            name=name,
            version=str(found.version),
            run_id=found.run_id or "",
            source=found.source or "",
            tags=dict(found.tags),
        )

    def download_model(self, version: Version, folder: Path) -> None:
        """Download the model's files from the server."""
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True)
        uri = f"models:/{version.name}/{version.version}"
        with _explained(self.place):
            download_artifacts(artifact_uri=uri, dst_path=str(folder))
        # The client's note of where it came from; it is no file of the model.
        (folder / "registered_model_meta").unlink(missing_ok=True)

    def download_evidence(self, version: Version, folder: Path) -> None:
        """Download the evidence from the server."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _explained(self.place):
            if not self._client.list_artifacts(version.run_id, EVIDENCE):
                return
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._client.download_artifacts(version.run_id, EVIDENCE, str(folder.parent))
        if folder.name != EVIDENCE:
            (folder.parent / EVIDENCE).replace(folder)

    def _artifact_location(self, name: str) -> None:
        del name

    def _store_model(self, model_id: str, location: str, folder: Path) -> None:
        del location
        self._client.log_model_artifacts(model_id, str(folder))

    def _store_artifacts(self, run_id: str, folder: Path, path: str = "") -> None:
        self._client.log_artifacts(run_id, str(folder), path or None)


def _tidy(variable: str) -> None:
    """Make a credential one that a header takes: the error about another would quote it."""
    value = os.environ.pop(variable, "").strip("\r\n")
    encoded = not variable.endswith("TOKEN")  # A user and a password are, before they are sent.
    if not value.isprintable() or not (encoded or value.isascii()):
        raise ConfigurationError(
            f"{variable}, as this step got it from its secret, holds a line break or a character "
            "that cannot be sent."
        )
    if value:  # A secret that is not set arrives as an empty string, which MLflow would send.
        os.environ[variable] = value


def tracking_uri(setting: str) -> str | None:
    """Where the server is, or ``None`` for the embedded registry.

    ``setting`` is the key ``registry`` of ``mlops.yaml``.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if setting == "server" and not uri:
        raise ConfigurationError(
            "registry: server needs the secret MLFLOW_TRACKING_URI, which is empty here."
        )
    if setting == "embedded" and uri:
        github.info("MLFLOW_TRACKING_URI is set and not used: registry is embedded.")
    return uri if uri and setting != "embedded" else None


def quiet() -> None:
    """Keep MLflow's and Alembic's own log lines out of ours."""
    import logging

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def describe(registry: Registry, name: str) -> dict[str, Any]:
    """Give the aliases of a model and the tags of the versions they name."""
    aliases = registry.aliases(name)
    return {
        "aliases": aliases,
        "versions": {
            number: dict(registry.version(name, number).tags) for number in set(aliases.values())
        },
    }
