"""A policy that asks for less is seen, whichever word it is."""

import pytest
from gate_files import HEAD, project
from hypothesis import given
from hypothesis import strategies as st

from mlops_actions.gate.policy_changes import policy_changes, shrunk

BASE = """
metrics:
  roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05, max_absolute_change: 0.1}
  log_loss: {threshold: 0.6, min_absolute_change: 0.01, max_undetectable_loss: 0.1}
  loss_cost: {threshold: 3, greater_is_better: false}
slices:
  - {columns: [origin], require: true, metrics: [roc_auc], values: [JFK, EWR]}
  - {columns: [distance], bins: 5, min_slice_size: 200}
fairness:
  - {columns: [sex], demographic_parity_ratio: {min: 0.8}, difference: {recall: {max: 0.1}}}
min_rows: 500
min_slice_size: 150
confidence: 0.95
bootstrap: refuse
mode: enabled
self_test: strict
max_verdicts: 20
behaviour:
  rows: 300
  invariance: [{name: origin, change: {origin: [LGA, EWR]}, max_change: 0.02, max_share: 0.01}]
  directional: [{name: later, add: {departure: 60}, expect: increase, tolerance: 0.05}]
  minimum_functionality: [{name: night, rows: [{departure: 300}], min: 0.1, max: 0.4}]
  tests: tests/behaviour.py
latency: {max_ratio: 1.5, max_row: 50, quantile: p95, max_memory: 1000}
explanation: {max_importance_share: 0.6}
"""

LOOSER = [
    ("threshold: 0.7,", "threshold: 0.6,"),
    ("threshold: 0.7, ", ""),
    ("threshold: 0.6, min", "threshold: 0.65, min"),
    ("threshold: 3", "threshold: 4"),
    ("margin: 0.05", "margin: 0.06"),
    (", max_absolute_change: 0.1", ""),
    ("max_absolute_change: 0.1", "max_absolute_change: 0.2"),
    ("min_absolute_change: 0.01, ", ""),
    ("min_absolute_change: 0.01", "min_absolute_change: 0.005"),
    ("max_undetectable_loss: 0.1", "max_undetectable_loss: 0.2"),
    ("  loss_cost: {threshold: 3, greater_is_better: false}\n", ""),
    ("require: true", "require: false"),
    (", values: [JFK, EWR]", ""),
    ("[JFK, EWR]", "[JFK]"),
    ("  - {columns: [distance], bins: 5, min_slice_size: 200}\n", ""),
    ("min_slice_size: 200", "min_slice_size: 300"),
    ("bins: 5", "bins: 4"),
    ("{min: 0.8}", "{min: 0.7}"),
    ("demographic_parity_ratio: {min: 0.8}, ", ""),
    ("{max: 0.1}", "{max: 0.2}"),
    (", difference: {recall: {max: 0.1}}", ""),
    ("min_rows: 500", "min_rows: 400"),
    ("min_slice_size: 150", "min_slice_size: 160"),
    ("confidence: 0.95", "confidence: 0.9"),
    ("refuse", "allow"),
    ("mode: enabled", "mode: dry_run"),
    ("mode: enabled", "mode: disabled"),
    ("strict", "warn"),
    ("rows: 300", "rows: 200"),
    ("max_change: 0.02", "max_change: 0.03"),
    ("max_share: 0.01", "max_share: 0.02"),
    ("tolerance: 0.05", "tolerance: 0.06"),
    ("min: 0.1, max", "min: 0.05, max"),
    ("max: 0.4", "max: 0.5"),
    (", max: 0.4", ""),
    (
        "  directional: [{name: later, add: {departure: 60}, expect: increase, tolerance: 0.05}]\n",
        "",
    ),
    ("  tests: tests/behaviour.py\n", ""),
    ("max_ratio: 1.5", "max_ratio: 1.6"),
    ("max_ratio: 1.5, ", ""),
    ("max_row: 50", "max_row: 60"),
    ("quantile: p95", "quantile: p50"),
    ("max_memory: 1000", "max_memory: 2000"),
    ("latency: {max_ratio: 1.5, max_row: 50, quantile: p95, max_memory: 1000}\n", ""),
    ("explanation: {max_importance_share: 0.6}\n", ""),
    ("max_importance_share: 0.6", "max_importance_share: 0.7"),
    ("self_test: strict", "self_test: strict\noverride: {who: ada, why: so, until: 3}"),
    ("max_verdicts: 20", "max_verdicts: 30"),
    ("max_verdicts: 20\n", ""),
]


def changes(before, after, *, head=HEAD, new_head=None):
    return policy_changes(
        project(before, head=head).config, project(after, head=new_head or head).config
    )


def test_nothing_changed():
    assert changes(BASE, BASE) == []


@pytest.mark.parametrize(("before", "after"), LOOSER)
def test_asking_for_less_needs_approval(before, after):
    assert BASE.count(before) == 1
    found = changes(BASE, BASE.replace(before, after))
    assert any(change.effect == "looser" for change in found), found
    assert any(change.needs_approval for change in found)


@pytest.mark.parametrize(
    ("before", "after"),
    [pair for pair in LOOSER if "bins" not in pair[0]],
)
def test_asking_for_more_needs_none(before, after):
    found = changes(BASE.replace(before, after), BASE)
    assert found
    assert {change.effect for change in found} == {"stricter"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("target: late", "target: delayed"),
        ("id: row", "id: row\ngroup: day"),
        ("id: row", "id: row\nscore: package.module:other"),
        ("labels: [0, 1]", "labels: [0, 1]\npositive_label: 0"),
        ("evaluation: evaluation.parquet", "evaluation: easier.parquet"),
        ("evaluation: evaluation.parquet", "evaluation: evaluation.parquet, schema: schema.yaml"),
        ("evaluation: evaluation.parquet", "evaluation: evaluation.parquet, command: make data"),
    ],
)
def test_the_same_words_may_mean_something_else(before, after):
    (change,) = changes(BASE, BASE, new_head=HEAD.replace(before, after))
    assert change.effect == "different"
    assert change.needs_approval


def test_checks_of_the_data_count():
    loose = "evaluation.parquet, checks: {unique_id: false, unseen_categories: ignore}, gap: 1d"
    strict = "evaluation.parquet, gap: 2d"
    one, other = (HEAD.replace("evaluation.parquet", text) for text in (loose, strict))
    assert {change.effect for change in changes(BASE, BASE, head=other, new_head=one)} == {"looser"}
    assert {change.effect for change in changes(BASE, BASE, head=one, new_head=other)} == {
        "stricter"
    }


def test_a_smaller_evaluation_set_is_seen():
    old = {"release": 100, "regression": 50}
    assert shrunk(old, {"release": 100, "regression": 51, "development": 1}) == []
    fewer, gone = shrunk(old, {"release": 99})
    assert fewer.text == "evaluation.release.rows: 100 -> 99 (looser)"
    assert gone.text == "evaluation.regression.rows: dropped (was 50)"


def test_what_is_said_of_a_change():
    found = changes(BASE, BASE.replace("threshold: 0.7,", "threshold: 0.6,"))
    assert [change.text for change in found] == [
        "gate.metrics.roc_auc.threshold: 0.7 -> 0.6 (looser)"
    ]
    (dropped,) = changes(BASE, BASE.replace("threshold: 0.7, ", ""))
    assert dropped.text == "gate.metrics.roc_auc.threshold: dropped (was 0.7)"
    (added,) = changes(BASE.replace("max_verdicts: 20\n", ""), BASE)
    assert added.text == "gate.max_verdicts: added (20)"


@given(
    before=st.floats(0.001, 0.999),
    after=st.floats(0.001, 0.999),
    rule=st.sampled_from(["threshold", "non_inferiority_margin", "min_relative_change"]),
    metric=st.sampled_from(["roc_auc", "log_loss", "neg_log_loss"]),
)
def test_there_and_back_is_never_twice_looser(before, after, rule, metric):
    gates = [f"metrics: {{{metric}: {{{rule}: {value!r}}}}}" for value in (before, after)]
    there, back = (changes(*pair) for pair in (gates, gates[::-1]))
    effects = [change.effect for change in (*there, *back)]
    assert sorted(effects) == ([] if before == after else ["looser", "stricter"])
