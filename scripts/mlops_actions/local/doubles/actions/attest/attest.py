# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for actions/attest: the same statement, kept with the local run, signed by nobody."""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCEPTED = "application/vnd.oci.image.manifest.v1+json"
ACCEPTED_TOO = "application/vnd.docker.distribution.manifest.v2+json"


def predicate() -> tuple[str, Any]:
    """Give the type and the content of what is attested."""
    sbom, kind, path = (os.environ[key] for key in ("SBOM", "TYPE", "PREDICATE"))
    if sbom:
        content = json.loads(Path(sbom).read_text(encoding="utf-8"))
        if content.get("bomFormat") == "CycloneDX":
            return "https://cyclonedx.org/bom", content
        if "spdxVersion" in content:
            return "https://spdx.dev/Document", content
        sys.exit("::error::sbom-path: neither CycloneDX nor SPDX")
    if kind:
        return kind, json.loads(Path(path).read_text(encoding="utf-8"))
    names = ("GITHUB_REPOSITORY", "GITHUB_REF", "GITHUB_SHA", "GITHUB_WORKFLOW_REF")
    return "https://slsa.dev/provenance/v1", {name: os.environ.get(name) for name in names}


def is_served(name: str, digest: str) -> bool:
    """Whether a registry on this machine has the image."""
    host, _, path = name.partition("/")
    if host.partition(":")[0] not in {"localhost", "127.0.0.1"}:
        return True  # Out of reach of a local run.
    address = f"http://{host}/v2/{path}/manifests/{digest}"
    request = urllib.request.Request(address, method="HEAD")
    request.add_header("Accept", f"{ACCEPTED}, {ACCEPTED_TOO}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004
    except urllib.error.URLError:
        return False


def main() -> None:
    """Write the statement."""
    print("double of actions/attest: the statement is kept with the run, unsigned", flush=True)
    name, digest = os.environ["NAME"], os.environ["DIGEST"]
    if os.environ["UNKNOWN"]:
        sys.exit("::error::only subject-digest and files are known in a local run")
    if not name or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        sys.exit("::error::subject-name and subject-digest (sha256:…) are required")
    if os.environ["PUSH"] == "true" and not is_served(name, digest):
        sys.exit(f"::error::the registry does not have {name}@{digest}")
    kind, content = predicate()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": kind,
        "predicate": content,
    }
    # Beside the artifacts of the run: <run>/artifacts/<workflow>.
    folder = Path(os.environ["MLOPS_LOCAL_ARTIFACTS"]).parents[1] / "attestations"
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.json"))) + 1
    path = folder / f"{number}.json"
    path.write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")
    print(f"{kind} of {name}@{digest}")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"bundle-path={path}\nattestation-id={number}\n")
        output.write(f"attestation-url={path.as_uri()}\n")


main()
