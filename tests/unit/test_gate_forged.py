"""Documents that user code wrote over: whatever they say, the gate ends with a verdict."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_gate_handover import Workflow, workflow
from test_gate_workflow import Registered, release

from mlops_actions import evidence, github
from mlops_actions.errors import Failure
from mlops_actions.gate.approval import Compared

__all__ = ["release", "workflow"]  # Fixtures.

STRANGE: list[Any] = [
    None, [], {}, "", "x", "..", "\ud800\u202e\n::error::x", -1, 0.5, 10**400, 0, True, "NaN",
    [[1]], [None], {"a": {}}, "pass", "passed", "failed", "unchanged", "smoke", "9999-99-99",
]  # fmt: skip
SMOKE = """\
pull-request: smoke
smoke: {command: x, sample: 0.5, metric: roc_auc, floor: 0.6, max_loss: 0.1}
"""
NO_CHANGES = Compared(checks=[], section={})  # Of the policy.
Documents = dict[str, dict[str, Any]]


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name every place in a document."""
    if where:
        yield where
    inner = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        yield from places(item, (*where, key))


def forge(documents: Documents, where: tuple[Any, ...], value: object) -> None:
    """Put a value in one place; one that an earlier forgery took away is left."""
    holder: Any = documents
    try:
        for key in where[:-1]:
            holder = holder[key]
        holder[where[-1]] = value
    except (TypeError, KeyError, IndexError):
        pass


def first(made: Workflow, _: pytest.MonkeyPatch) -> None:
    """A first model: nothing to compare with."""
    document = evidence.statement(
        "train", "passed", [], subjects=[], mode="full", environment={"python": "3.11.7"}
    )
    made.write("train", document)


def smoke(made: Workflow, patch: pytest.MonkeyPatch) -> None:
    """A smoke run of a pull request."""
    config = made.repository / "mlops.yaml"
    config.write_text(config.read_text() + SMOKE)
    request = {"number": 1, "head": {"repo": {"full_name": "a/b"}}, "base": {"sha": "b" * 40}}
    event = made.repository.parent / "event.json"
    event.write_text(json.dumps({"pull_request": request}))
    patch.setenv("GITHUB_EVENT_PATH", str(event))
    patch.setenv("GITHUB_REPOSITORY", "a/b")
    github.event.cache_clear()
    said = evidence.check("base_branch", "skipped", message="it has no smoke command")
    made.write("train", evidence.statement("train", "passed", [said], subjects=[], mode="smoke"))


def champion(made: Workflow, _: pytest.MonkeyPatch) -> None:
    """A registered model, whose predictions on this set the job `model` made."""
    assert isinstance(made, Registered)
    shutil.rmtree(made.own / "evidence" / "predictions")
    digest = made.part["digest"]
    said = evidence.check("score:release:champion", "pass", 1000, version="3", digest=digest)
    made.write("score", evidence.statement("score", "passed", [said], subjects=[]))
    scored = made.candidate / "predictions" / "release"
    shutil.copyfile(scored / "candidate.parquet", scored / "champion.parquet")
    made.judge()


@pytest.mark.parametrize(
    ("fixture", "prepare", "verdict"),
    [
        ("workflow", first, "blessed"),
        ("workflow", smoke, "passed"),
        ("release", champion, "unchanged"),
    ],
)
def test_no_forged_document_stops_the_gate(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fixture: str,
    prepare: Callable[[Workflow, pytest.MonkeyPatch], None],
    verdict: str,
) -> None:
    # Reports have a test like this of their own, and take longer than all the rest.
    monkeypatch.setattr("mlops_actions.report.html.render", lambda *_, **__: "")
    monkeypatch.setattr("mlops_actions.gate.approval.compare", lambda *_, **__: NO_CHANGES)
    made: Workflow = request.getfixturevalue(fixture)
    prepare(made, monkeypatch)
    names = ("train", "score", "validate", "data")
    honest = {name: evidence.read_json(made.candidate / f"{name}.json") for name in names}

    def judge(documents: Documents) -> int:
        data = evidence.write_json(made.candidate / "data.json", documents["data"])
        forge(documents, ("validate", "subject", 0, "digest", "sha256"), data)
        for name in ("validate", "train", "score"):
            made.write(name, documents[name])
        shutil.rmtree(made.output.parent, ignore_errors=True)
        try:
            return made.run()
        except Failure as problem:
            return problem.code

    judge(copy.deepcopy(honest))
    assert made.predicate()["verdict"] == verdict, made.predicate()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(st.sampled_from(list(places(honest))), st.sampled_from(STRANGE)),
            min_size=1,
            max_size=3,
        )
    )
    def forged(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        documents = copy.deepcopy(honest)
        for where, value in changes:
            forge(documents, where, copy.deepcopy(value))
        assert judge(documents) in {0, 1}
        assert made.predicate()["verdict"]
        assert made.output.with_name("report.md").is_file()

    forged()
