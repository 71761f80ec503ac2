"""Look at the registry: fetch what a candidate is compared with, or open MLflow's own page.

For a smoke run that is the base branch's commit, too: later steps run user code without a token.
MLFLOW_TRACKING_URI names a server; without it the registry is the branch mlops-state of the
repository's remote origin.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import tempfile
from pathlib import Path

from mlops_actions import config, github, uv
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.pipeline import fetch_base
from mlops_actions.scope import training_mode
from mlops_actions.state import Branch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser("fetch", help="Write the baseline's evidence and model.")
    fetch.add_argument("--output", type=Path, required=True, help="Folder, written anew.")
    fetch.add_argument("--no-model", action="store_true", help="Leave the model's files out.")
    ui = actions.add_parser("ui", help="Open MLflow's page on the registry.")
    ui.add_argument("--port", type=int, default=5000, help="Port on this machine (default: 5000).")


def run(arguments: argparse.Namespace) -> int:
    """Run a sub-command."""
    project = config.load(arguments.config)
    if arguments.action == "fetch":
        from mlops_actions.registry import baseline

        github.set_output("model", project.config.name)
        document = baseline.fetch(
            project, arguments.output, branch_of(project), model=not arguments.no_model
        )
        found = document["baseline"]
        _bring_base(project)
        github.info(
            f"Baseline: {found['alias']}, version {found['version']}"
            if found
            else f"Baseline: none{': ' + document['problem'] if document['problem'] else ''}"
        )
        return 0
    return _ui(project, arguments.port)


def _bring_base(project: config.Project) -> None:
    smoke = project.config.smoke
    if training_mode(project) == "smoke" and smoke and smoke.max_loss is not None:
        try:
            fetch_base(project.folder)
        except Failure as problem:  # The smoke run says it again, where it counts.
            github.warning(f"The base branch is out of reach: {problem.message}")


def branch_of(project: config.Project) -> Branch:
    """The branch ``mlops-state`` of the repository that holds a project."""
    return Branch(repository=project.folder.resolve(), token=os.environ.get("GITHUB_TOKEN") or None)


def _ui(project: config.Project, port: int) -> int:
    from mlops_actions.registry.store import EmbeddedRegistry, tracking_uri

    uri = tracking_uri(project.config.registry)
    if uri:
        github.info(f"MLflow's page is the server's own: {uri}")
        return 0
    _refuse_taken(port)
    root = Path(__file__).resolve().parents[3]
    if not (root / "uv.lock").is_file():
        raise ConfigurationError("MLflow's page needs a checkout of this project, with uv.lock.")
    with tempfile.TemporaryDirectory(prefix="mlops-registry-") as folder:
        checkout = branch_of(project).checkout(Path(folder))
        if not EmbeddedRegistry.exists(checkout):
            raise Failure("There is no embedded registry yet: the first training makes it.")
        checkout.git("sparse-checkout", "disable")
        github.info(f"http://127.0.0.1:{port} shows a copy: what is changed there is not kept.")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PYTHON"))}
        environment["UV_PROJECT_ENVIRONMENT"] = str(_server_environment())
        process = subprocess.run(
            [
                str(uv.path()), "run", "--quiet", "--locked", "--project", str(root),
                "--only-group", "server", "mlflow", "server",
                "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{folder}/registry/mlflow.db",
                "--artifacts-destination", f"{folder}/registry/artifacts",
            ],
            env=environment,
            check=False,
        )  # fmt: skip
    return process.returncode


def _refuse_taken(port: int) -> None:
    """Say what MLflow's server says in its log, and then waits."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise ConfigurationError(f"--port {port}: {reason}. Name another one.") from None


def _server_environment() -> Path:
    from mlops_actions.project import cache_folder

    return cache_folder() / "server"
