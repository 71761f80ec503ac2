"""Find what a workflow uses, and lay it out so that act finds all of it on this machine.

Uses of this project go to a copy of this checkout, whatever commit they name; others' actions go
to their doubles. The copies differ from the originals only where act 0.2.89 does not know the
syntax (``$/``, ``queue: max``, ``job.workflow_*``), in jobs' display names, which are left out so
that the log names jobs by their ids, and by one job a workflow, which reports the others' outputs.
"""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError

from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.local import origin as bare
from mlops_actions.local.event import Event

OUR_SLUG = "mlops-actions/mlops-actions"
CHECKOUT = Path(__file__).resolve().parents[3]
DOUBLES = Path(__file__).resolve().parent / "doubles"
OBSERVER = "mlops-local-observer"
OBSERVER_LABEL = "mlops-local"
_REMOTE = re.compile(r"(?P<slug>[\w.-]+/[\w.-]+)(?:/(?P<path>[^@]+))?@(?P<ref>.+)")
_INPUT = re.compile(r"\binputs\.([\w-]+)")


def load(path: Path) -> CommentedMap:
    """Read a workflow or an action.

    Raises:
        ConfigurationError: it is not YAML, or not a mapping.

    """
    try:
        data = YAML().load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as problem:
        mark = problem.problem_mark
        raise ConfigurationError(
            f"not valid YAML: {problem.problem}",
            file=path,
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError("not UTF-8.", file=path) from None
    if not isinstance(data, CommentedMap):
        raise ConfigurationError("expected a mapping.", file=path)
    return data


# -- which workflows an event starts ---------------------------------------------------------------


def _filter(pattern: str) -> re.Pattern[str]:
    # Source: "Filter pattern cheat sheet", GitHub Actions documentation.
    parts = re.split(r"(\*\*|\*|\?|\+|\[[^]]*\])", pattern)
    meaning = {"**": ".*", "*": "[^/]*", "?": "?", "+": "+"}
    return re.compile(
        "".join(
            meaning.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
        )
    )


def _passes(patterns: Any, value: str) -> bool:
    wanted = False
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        negated = pattern.startswith("!")
        if _filter(pattern.removeprefix("!")).fullmatch(value):
            wanted = not negated
    return wanted


def triggers(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Give the events in ``on:`` with what they ask for."""
    on = workflow.get("on")
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {name: {} for name in on}
    return {name: settings or {} for name, settings in (on or {}).items()}


def why_not(workflow: Mapping[str, Any], event: Event) -> str | None:
    """Say why ``event`` does not start ``workflow``; ``None`` when it does.

    ``paths`` filters are not looked at.
    """
    asked = triggers(workflow)
    if event.name not in asked:
        return f"it has no {event.name}"
    settings = asked[event.name]
    if not isinstance(settings, dict):
        return None
    if event.name in {"push", "pull_request"}:
        if "branches" in settings and not _passes(settings["branches"], event.branch):
            return f"its branches do not include {event.branch}"
        if "branches-ignore" in settings and _passes(settings["branches-ignore"], event.branch):
            return f"its branches-ignore include {event.branch}"
        if event.name == "push" and "tags" in settings and "branches" not in settings:
            return "it asks for tags only"
    types = settings.get("types")
    if event.name == "pull_request" and types is None:
        types = ["opened", "synchronize", "reopened"]
    types = [types] if isinstance(types, str) else types
    if types and event.activity and event.activity not in types:
        return f"its types do not include {event.activity}"
    return None


# -- what they use ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Wiring:
    """Where act finds what the workflows use."""

    repositories: dict[str, Path] = dataclasses.field(default_factory=dict)  # OWNER/NAME@REF: dir
    labels: set[str] = dataclasses.field(default_factory=lambda: {OBSERVER_LABEL})


@dataclasses.dataclass(frozen=True)
class _Home:
    """Where a file stands: what ``$/`` and ``./`` mean in it."""

    folder: Path
    slug: str | None = None  # None: the caller's own repository.


def _uses(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each ``uses:`` with the mapping it stands in."""
    steps = list((data.get("runs") or {}).get("steps") or [])
    for job in (data.get("jobs") or {}).values():
        if isinstance(job, dict):
            if isinstance(job.get("uses"), str):
                yield job["uses"], job
            steps += job.get("steps") or []
    for step in steps:
        if isinstance(step, dict) and isinstance(step.get("uses"), str):
            yield step["uses"], step


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


class _Walk:
    def __init__(self, work: Path, actions: Mapping[str, Path]) -> None:
        self.work = work
        self.actions = actions
        self.wiring = Wiring()
        self.seen: set[tuple[Path, str | None]] = set()
        self.ours: dict[tuple[str, str], Path] = {}

    def file(self, path: Path, home: _Home) -> None:
        if (path, home.slug) in self.seen:
            return
        self.seen.add((path, home.slug))
        data = load(path)
        self._labels(data)
        for uses, where in _uses(data):
            self._use(uses, where, path, home)
        if "jobs" in data:
            adapt(path, data)

    def _labels(self, data: Mapping[str, Any]) -> None:
        """Collect every label a job may run on; an input may name one."""
        texts: list[str] = []
        for job in (data.get("jobs") or {}).values():
            if isinstance(job, dict):
                texts += _strings(job.get("runs-on"))
                texts += _strings((job.get("strategy") or {}).get("matrix"))
                texts += _strings(job.get("with"))
        call = triggers(data).get("workflow_call") if "on" in data else None
        for settings in ((call or {}).get("inputs") or {}).values():
            texts += _strings((settings or {}).get("default"))
        for text in texts:
            # Whatever looks like a label may be one (an input's value, an item of a JSON list, a
            # literal in an expression): knowing too many does no harm.
            words = [text, *re.findall(r"""['"]([\w.-]+)['"]""", text)]
            self.wiring.labels |= {word for word in words if re.fullmatch(r"[\w.-]{1,60}", word)}

    def _use(self, uses: str, where: Mapping[str, Any], path: Path, home: _Home) -> None:
        line = _line(where, "uses")
        if uses.startswith("docker://"):
            return
        if uses.startswith(("./", "$/")):
            self._own(uses[2:], home, path, line)
            return
        found = _REMOTE.fullmatch(uses)
        if not found:
            raise ConfigurationError(f"cannot read uses: {uses}", file=path, line=line)
        slug, inner, ref = found["slug"], found["path"] or "", found["ref"]
        if slug in self.actions:
            folder = self.actions[slug]
        elif self._is_ours(slug, inner):
            folder = self._copy(slug, ref)
        elif (DOUBLES / slug / inner / "action.yml").is_file():
            folder = DOUBLES / slug
        else:
            raise ConfigurationError(
                f"{slug}{'/' + inner if inner else ''} has no double on this machine; give a "
                f"directory that stands for it: --action {slug}=DIR",
                file=path,
                line=line,
            )
        self.wiring.repositories[f"{slug}@{ref}"] = folder
        self._own(inner, _Home(folder, slug), path, line)

    def _own(self, inner: str, home: _Home, path: Path, line: int | None) -> None:
        target = home.folder / inner
        if inner.startswith(".github/workflows/"):
            if not target.is_file():
                raise ConfigurationError(f"there is no workflow {inner}", file=path, line=line)
            self.file(target, home)
            return
        for name in ("action.yml", "action.yaml"):
            if (target / name).is_file():
                self.file(target / name, home)
                return
        if (target / "Dockerfile").is_file():
            return
        # A step before may make it, as a checkout of another repository does.
        if home.slug is not None:
            raise ConfigurationError(
                f"there is no action {inner or home.folder}", file=path, line=line
            )

    def _is_ours(self, slug: str, inner: str) -> bool:
        if slug == OUR_SLUG:
            return True
        # A fork goes by another name: it is known by what it holds.
        is_action = inner.startswith("actions/") and (CHECKOUT / inner / "action.yml").is_file()
        is_workflow = inner.startswith(".github/workflows/") and (CHECKOUT / inner).is_file()
        known = any(slug == name for name, _ in self.ours)
        return is_action or is_workflow or (known and (CHECKOUT / inner / "action.yml").is_file())

    def _copy(self, slug: str, ref: str) -> Path:
        if (slug, ref) not in self.ours:
            folder = self.work / f"checkout-{len(self.ours)}"
            copy_checkout(folder, slug, ref)
            self.ours[slug, ref] = folder
        return self.ours[slug, ref]


def _line(where: Any, key: str) -> int | None:
    try:
        return int(where.lc.key(key)[0]) + 1
    except (AttributeError, KeyError):
        return None


def lay_out(workflow: Path, caller: Path, work: Path, actions: Mapping[str, Path]) -> Wiring:
    """Make everything that ``workflow`` reaches available under ``work``.

    ``caller`` is a copy of the caller's repository; its workflow files are adapted in place.
    ``actions`` gives, for ``OWNER/NAME``, a directory that replaces the double.

    Raises:
        ConfigurationError: something that is used is neither ours nor has a double.

    """
    walk = _Walk(work, actions)
    walk.file(workflow, _Home(caller))
    return walk.wiring


# -- the copies ------------------------------------------------------------------------------------


def copy_checkout(folder: Path, slug: str, ref: str) -> None:
    """Copy this checkout's files (tracked, or new and not ignored), with ``$/`` spelt out.

    Raises:
        Failure: this is not a checkout of the project.

    """
    if not (CHECKOUT / "actions").is_dir():
        raise Failure(f"{CHECKOUT} holds no actions: run mlops-actions from a checkout.")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        commit = bare.git("rev-parse", "HEAD", cwd=CHECKOUT)
    else:  # An action's folder on a runner is not a repository.
        names = [
            str(path.relative_to(CHECKOUT))
            for path in CHECKOUT.rglob("*")
            if not path.is_dir() and not {".venv", "__pycache__"} & set(path.parts)
        ]
        commit = ref
    for name in names:
        source, target = CHECKOUT / name, folder / name
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        path = Path(name)
        if path.name in {"action.yml", "action.yaml"} or path.parts[:2] == (".github", "workflows"):
            text = spell_out(source.read_text(encoding="utf-8"), slug, ref, commit, name)
            target.write_text(text, encoding="utf-8")
        else:
            shutil.copy2(source, target)


def spell_out(text: str, slug: str, ref: str, commit: str, name: str) -> str:
    """Write what act does not know in words that it knows. Lines keep their numbers."""
    text = re.sub(
        r"(?m)^(\s*(?:-\s+)?uses:\s*[\"']?)\$/([^\s\"'#]*)",
        lambda found: f"{found[1]}{slug}{'/' + found[2] if found[2] else ''}@{ref}",
        text,
    )
    text = without_queue(text)
    known = {
        "sha": commit,
        "ref": f"{slug}/{name}@{ref}",
        "repository": slug,
        "file_path": name,
    }
    return re.sub(
        r"\bjob\.workflow_(sha|ref|repository|file_path)\b",
        lambda found: f"'{known[found[1]]}'",
        text,
    )


def without_queue(text: str) -> str:
    """Leave ``queue:`` of a concurrency group out."""
    text = re.sub(r"(?m)^(\s*)(queue:\s*(?:max|single)\s*(?:#.*)?)$", r"\1# \2", text)
    return re.sub(r",\s*queue:\s*(?:max|single)\b", "", text)


def adapt(path: Path, data: CommentedMap) -> None:
    """Take the display names out of a workflow's jobs, and add the job that reports outputs."""
    text = without_queue(path.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^(\s*(?:-\s+)?uses:\s*[\"']?)\$/", r"\1./", text)
    lines = text.splitlines()
    jobs = data["jobs"]
    if not isinstance(jobs, CommentedMap) or not jobs:
        raise ConfigurationError("jobs: expected a mapping of jobs.", file=path)
    row, column = jobs.lc.key(next(iter(jobs)))
    if jobs.fa.flow_style() or row == data.lc.key("jobs")[0]:
        raise ConfigurationError("jobs: write it as a block, not in braces.", file=path)
    after = [data.lc.key(key)[0] for key in data if data.lc.key(key)[0] > data.lc.key("jobs")[0]]
    end = min(after, default=len(lines))
    lines[end:end] = [" " * column + line for line in _observer(data).splitlines()]
    for job in reversed(list(jobs.values())):
        if isinstance(job, CommentedMap) and not job.fa.flow_style():
            _adapt_job(job, lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _adapt_job(job: CommentedMap, lines: list[str]) -> None:
    if "name" in job:
        number = job.lc.key("name")[0]
        lines[number] = re.sub(r"\bname:", "# name:", lines[number], count=1)
    strategy = job.get("strategy")
    if isinstance(strategy, CommentedMap) and not strategy.fa.flow_style():
        # One leg after the other: act's map of local repositories is written without a lock, and
        # two legs that call a workflow at once can end act ("concurrent map writes").
        if "max-parallel" in strategy:
            number = strategy.lc.key("max-parallel")[0]
            lines[number] = re.sub(r"(max-parallel:).*", r"\1 1", lines[number])
        else:
            number, column = strategy.lc.key(next(iter(strategy)))
            lines.insert(number, " " * column + "max-parallel: 1")


def _observer(data: Mapping[str, Any]) -> str:
    call = triggers(data).get("workflow_call") or {}
    environment = {"NEEDS": "${{ toJSON(needs) }}"}
    script = [
        'emit() { printf "%s<<end-%s\\n%s\\nend-%s\\n" "$1" "$K" "$2" "$K" >> "$GITHUB_OUTPUT"; }',
        'K="$RANDOM$RANDOM$RANDOM"',
        'emit needs "$NEEDS"',
    ]
    for position, (name, settings) in enumerate((call.get("outputs") or {}).items()):
        value = str((settings or {}).get("value", ""))
        environment[f"OUTPUT_{position}"] = re.sub(r"\bjobs\.", "needs.", value)
        script.append(f'emit "output.{name}" "$OUTPUT_{position}"')
    job = {
        OBSERVER: {
            "if": "always()",
            "needs": list(data["jobs"]),
            "runs-on": OBSERVER_LABEL,
            "permissions": {},
            "steps": [
                {
                    "id": "observe",
                    "shell": "bash",
                    "env": environment,
                    "run": "\n".join(script) + "\n",
                }
            ],
        }
    }
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(job, stream)
    return stream.getvalue()
