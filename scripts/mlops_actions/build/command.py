"""The command: ``resolve`` and ``image`` write into one work folder; ``verdict`` reads it."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github, results
from mlops_actions.build import blessed as versions
from mlops_actions.build.requirements import Index
from mlops_actions.errors import Failure
from mlops_actions.registry.store import CHALLENGER, Registry
from mlops_actions.state import Checkout

_VERSION = "version.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    resolve = actions.add_parser("resolve", help="Fetch one version and verify its evidence.")
    image = actions.add_parser("image", help="Build the image, and prove what was built.")
    verdict = actions.add_parser("verdict", help="Say whether the image may go on, or why not.")
    for one in (resolve, image):
        one.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
        one.add_argument("--output", type=Path, required=True, help="Work folder.")
    verdict.add_argument("--handover", type=Path, required=True, help="The work folder of `image`.")
    verdict.add_argument(
        "--model-result", default="success", help="Result of the job that built the image."
    )
    resolve.add_argument(
        "--upload-sarif", default="auto", help="Findings to code scanning: auto, true or false."
    )
    resolve.add_argument("--version", default=CHALLENGER, help="A number, or challenger.")
    resolve.add_argument(
        "--rebuild", default="false", help="true builds although an image is recorded."
    )


def run(arguments: argparse.Namespace) -> int:
    """Run a sub-command; a failure is written down for the job that decides."""
    if arguments.action == "verdict":
        return _verdict(arguments.handover, arguments.model_result)
    loaded = config.load(arguments.config)
    try:
        if arguments.action == "resolve":
            return _resolve(loaded, arguments)
        return _image(loaded, arguments.output)
    except Failure as failure:
        failed = evidence.check(arguments.action, "fail", message=failure.message)
        subjects = [evidence.subject("config", evidence.sha256_file(loaded.file))]
        document = evidence.statement(
            "build", "failed", [failed], subjects=subjects, model=loaded.config.name, version=None
        )
        evidence.write_json(arguments.output / "build.json", document)
        raise


def _image(loaded: config.Project, output: Path) -> int:
    from mlops_actions.build import proof

    blessed = versions.Blessed.read(output / _VERSION)
    with _index() as index:
        document = proof.make(loaded, blessed, output, index)
    evidence.write_json(output / "build.json", document)
    return _say(document["predicate"])


def _say(predicate: dict[str, Any]) -> int:
    for check in predicate["checks"]:
        if check["status"] not in {"pass", "skipped"}:
            github.error(f"{check['name']}: {check.get('message') or check['observed']}")
    return 0 if predicate["verdict"] == "passed" else 1


def _verdict(handover: Path, result: str) -> int:
    """Repeat what the job ``model`` found, where everybody looks: in the job that decides."""
    from mlops_actions.build.summary import markdown

    path = handover / "build.json"
    if not path.is_file():
        raise Failure(f"The job model handed no image over (its result: {result or 'unknown'}).")
    predicate = evidence.read(path, "build")
    github.add_summary(markdown(predicate))
    if _say(predicate):
        return 1
    if result != "success":
        raise Failure(f"The image was built; then the job model ended with {result}: see its log.")
    return 0


def _resolve(loaded: config.Project, arguments: argparse.Namespace) -> int:
    name, output = loaded.config.name, arguments.output
    results.work_folder(output)
    github.set_output("model", name)
    rebuild = github.boolean("rebuild", arguments.rebuild)
    sarif = github.plan_has("upload-sarif", arguments.upload_sarif)
    github.set_output("upload-sarif", "true" if sarif else "false")
    if not sarif:
        github.info("Findings are not sent to code scanning (upload-sarif).")

    def look(registry: Registry, checkout: Checkout) -> int:
        version = versions.find(registry, name, arguments.version)
        github.set_output("version", version.version)
        record = versions.read_record(checkout, name, version.version)
        if record is not None and not rebuild:
            github.info(f"{name} version {version.version} is built: {record['reference']}")
            github.add_summary(
                f"**{name}** version **{version.version}** is built already: nothing to do.\n\n"
                f"`{record['reference']}`"
            )
            github.set_output("built-version", version.version)
            return 0
        blessed = versions.fetch(registry, version, output)
        evidence.write_json(output / _VERSION, blessed.document())
        github.info(f"{name} version {version.version} is blessed, and its evidence holds")
        return 0

    return versions.with_registry(loaded, look)


@contextmanager
def _index() -> Iterator[Index]:
    """The package index and certificate that the secrets name; the certificate as a file."""
    url = os.environ.get("MLOPS_INDEX_URL", "").strip() or None
    if url:
        github.mask(url)
        found = re.match(r"https?://[^/@]*:([^/@]+)@", url)
        if found:
            github.mask(found[1])
    text = os.environ.get("MLOPS_CA_CERTIFICATE", "").strip()
    own = os.environ.get("SSL_CERT_FILE", "")
    with tempfile.TemporaryDirectory(prefix="mlops-ca-") as folder:
        certificate = Path(own) if own and Path(own).is_file() else None
        if text:
            certificate = Path(folder) / "ca.pem"
            system = Path("/etc/ssl/certs/ca-certificates.crt")
            known = system.read_text(encoding="utf-8") if system.is_file() else ""
            certificate.write_text(f"{known}\n{text}\n", encoding="utf-8")
        yield Index(url=url, certificate=certificate)
