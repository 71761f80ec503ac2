"""Record on the branch ``mlops-state`` an image that was pushed and, where it is to be, attested.

Comes last: what is recorded is not built again, so nothing may be missing from it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github
from mlops_actions.build import blessed as versions
from mlops_actions.registry import branch_of
from mlops_actions.state import Checkout

_KEPT = ("build.json", "scan.json", "push.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument("--handover", type=Path, required=True, help="Folder that `push` left.")
    parser.add_argument(
        "--attested", default="false", help="Whether the image was attested (default: false)."
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the record; give 0 when it is on the branch."""
    loaded = config.load(arguments.config)
    github.event().require_default_branch("records images")
    handover: Path = arguments.handover
    pushed = evidence.read(handover / "push.json", "push")
    attested = github.boolean("attested", arguments.attested)
    record(loaded, handover, pushed, attested=attested)
    github.info(f"Recorded {pushed['reference']}")
    github.add_summary(
        f"**{pushed['model']}** version **{pushed['version']}** is `{pushed['reference']}`\n\n"
        f"Tags: {', '.join(f'`{tag}`' for tag in pushed['tags'])}."
        + ("" if attested else " It has **no attestation** (`unattested: allow`).")
    )
    return 0


def record(
    loaded: config.Project, handover: Path, pushed: dict[str, Any], *, attested: bool
) -> None:
    """Write ``images/<model>/<version>.json``, and the documents it names in a folder beside it."""
    relative = versions.record_path(pushed["model"], pushed["version"])
    folder = Path(relative).with_suffix("")

    def change(checkout: Checkout) -> None:
        checkout.bring([relative, folder.as_posix()])
        path = checkout.folder / relative
        document = evidence.statement(
            "record",
            "passed",
            [evidence.check("attested", "pass" if attested else "skipped")],
            subjects=[evidence.subject(pushed["image"], pushed["digest"].removeprefix("sha256:"))],
            previous=[handover / name for name in _KEPT],
            **{key: pushed[key] for key in ("model", "version", "run_id", "image", "digest")},
            **{key: pushed[key] for key in ("reference", "tags", "base", "unattested")},
            attested=attested,
            # Each record carries the digest of the one before.
            previous_record=evidence.sha256_file(path) if path.is_file() else None,
        )
        evidence.write_json(path, document)
        for kept in _KEPT:
            target = checkout.folder / folder / kept
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(handover / kept, target)

    name = f"{pushed['model']}: image of version {pushed['version']}"
    branch_of(loaded).transaction(change, name)
