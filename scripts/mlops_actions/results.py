"""Where results go: never in the place of what is given, and nobody else's files are taken away."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlops_actions.errors import ConfigurationError

MARKER = ".mlops-actions"
"""What a work folder of ours holds, by which a later call knows that it may empty it."""


def make_way(results: Mapping[str, Path | None], given: Iterable[Path | None]) -> None:
    """Take away what an earlier call left, lest it be taken for this one's, whatever happens.

    Args:
        results: where they go, by the option that says so.
        given: files and folders of this call, which none of them may replace or lie in.

    Raises:
        ConfigurationError: a result would take the place of something given, or of another one.

    """
    taken = {path.resolve() for path in given if path}
    places = {option: path for option, path in results.items() if path}
    for option, path in places.items():
        place = path.resolve()
        if not taken.isdisjoint({place, *place.parents}):
            message = f"--{option} would replace another file of this call."
            raise ConfigurationError(message, file=path)
        taken.add(place)
    for path in places.values():
        path.unlink(missing_ok=True)


def work_folder(path: Path) -> None:
    """Make an empty folder, emptying what an earlier call made.

    Raises:
        ConfigurationError: it is a file, or holds something and was not made by us.

    """
    if path.exists() and not path.is_dir():
        raise ConfigurationError("The output is a file, not a folder.", file=path)
    if path.is_dir():
        if any(path.iterdir()) and not (path / MARKER).is_file():
            raise ConfigurationError(
                "The output holds what is no result of an earlier call: name another folder.",
                file=path,
            )
        shutil.rmtree(path)
    path.mkdir(parents=True)
    (path / MARKER).touch()
