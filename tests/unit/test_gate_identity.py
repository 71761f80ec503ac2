"""Identity of models and sets, and the override."""

import dataclasses

import pytest
from gate_files import answers, project, rows, write

from mlops_actions.errors import ConfigurationError
from mlops_actions.evidence import check
from mlops_actions.gate import approval, identity
from mlops_actions.gate.decision import Extra, SetInput, judge
from mlops_actions.gate.identity import Overlap
from mlops_actions.gate.override import Override, overrule

GATE = "metrics: {roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05}}"


def statuses(checks):
    return [item["status"] for item in checks]


def test_models_differ_by_digest_or_not_at_all():
    assert identity.models("a", None, identical=False) == []
    assert statuses(identity.models("a", "b", identical=False)) == ["pass"]
    assert statuses(identity.models("a", "b", identical=True)) == ["pass"]
    assert statuses(identity.models("a", "a", identical=True)) == ["pass"]
    (found,) = identity.models("a", "a", identical=False)
    assert found["status"] == "fail"
    assert "their predictions differ" in found["message"]


def test_both_are_scored_on_the_same_set():
    both = {"release": "x", "regression": "y"}
    assert statuses(identity.evaluation(both, both)) == ["pass", "pass"]
    assert statuses(identity.evaluation(both, {"release": "x"})) == ["pass", "fail"]
    assert statuses(identity.evaluation(both, both | {"release": "z"})) == ["fail", "pass"]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (Overlap(rows=100, keys=0, content=0, ordinary=0.0), ["pass", "pass"]),
        (Overlap(rows=100, keys=1, content=0, ordinary=0.0), ["fail", "pass"]),
        (Overlap(rows=100, keys=0, content=32, ordinary=0.31), ["pass", "pass"]),
        (Overlap(rows=100, keys=0, content=34, ordinary=0.31), ["pass", "fail"]),
        (Overlap(rows=100, keys=0, content=100), ["pass", "skipped"]),
        (Overlap(rows=0, keys=0, content=0), ["pass", "inconclusive"]),
    ],
)
def test_rows_that_training_saw(overlap, expected):
    assert statuses(identity.unseen({"release": overlap})) == expected


@pytest.fixture
def sets(tmp_path):
    keys = rows(1000)
    paths = write(
        tmp_path,
        candidate=answers(keys, seed=1),
        champion=answers(keys, seed=2),
        bad=answers(keys, noise=5, seed=3),
        broken=answers(keys, seed=3).drop("prediction"),
    )

    def make(candidate):
        return {"development": SetInput(candidate=paths[candidate], champion=paths["champion"])}

    return make


def test_the_callers_checks_count(sets):
    leak = identity.unseen({"development": Overlap(rows=10, keys=3, content=0, ordinary=0.0)})
    for candidate in ("candidate", "champion"):  # A leak is no "unchanged" either.
        judgement = judge(project(GATE), sets(candidate), baseline=None, extra=Extra(checks=leak))
        assert judgement.verdict == "rejected"
        assert judgement.reasons == [
            "3 rows of the development set occur in the training data, by id."
        ]
        assert judgement.metrics


# --- Override ----------------------------------------------------------------------------------

WHO = Override(who="ada", why="The old champion must go.", until="7")


def test_an_override_is_on_record(sets):
    judgement = judge(project(GATE), sets("bad"), baseline=None)
    overruled = overrule(judgement, WHO)
    assert (judgement.verdict, overruled.verdict) == ("rejected", "blessed")
    assert not overruled.stops
    assert overruled.override == {
        "who": "ada",
        "why": "The old champion must go.",
        "until": "7",
        "verdict": "rejected",
    }
    assert "Overruled by ada, up to version 7" in overruled.warnings[0]
    assert overruled.reasons == judgement.reasons
    assert overruled.checks[:-1] == judgement.checks
    predicate = overruled.predicate(project(GATE).config, None)
    assert predicate["override"]["verdict"] == "rejected"


def test_an_override_that_is_not_needed_changes_nothing(sets):
    judgement = judge(project(GATE), sets("candidate"), baseline=None)
    assert overrule(judgement, WHO) is judgement


def test_what_nobody_could_read_cannot_be_overruled(sets):
    judgement = judge(project(GATE), sets("broken"), baseline=None)
    with pytest.raises(ConfigurationError, match="no column prediction"):
        overrule(judgement, WHO)


@pytest.mark.parametrize("content", [b"rubbish", None])
def test_a_set_that_nobody_could_read_cannot_be_overruled(sets, tmp_path, content):
    """Neither without an evaluation file, when the set is the candidate's own, nor with one."""
    path = tmp_path / "rubbish.parquet"
    if content is not None:
        path.write_bytes(content)
    (given,) = sets("candidate").values()
    for change in ({"candidate": path}, {"evaluation": path}):
        files = {"development": dataclasses.replace(given, **change)}
        judgement = judge(project(GATE), files, baseline=None)
        with pytest.raises(ConfigurationError, match="cannot be overruled"):
            overrule(judgement, WHO)


@pytest.mark.parametrize("status", ["fail", "inconclusive"])
def test_a_policy_cannot_overrule_the_approval_that_its_change_needs(sets, status):
    more = [check(approval.NAME, status, message="Looser.")]
    judgement = judge(project(GATE), sets("candidate"), baseline=None, extra=Extra(checks=more))
    with pytest.raises(ConfigurationError, match="cannot be overruled: Looser"):
        overrule(judgement, WHO)


@pytest.mark.parametrize("field", ["who", "why", "until"])
@pytest.mark.parametrize("value", ["", "  ", "a\nb"])
def test_an_override_says_who_why_and_until_when(field, value):
    with pytest.raises(ConfigurationError, match=f"in one line {field}"):
        Override(**({"who": "ada", "why": "so", "until": "7"} | {field: value}))
