"""A policy that asks for less is seen, whichever word it is."""

import datetime
import typing

import pytest
from gate_files import HEAD, project
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mlops_actions.config import LargestGap
from mlops_actions.gate.policy_changes import FREE, policy_changes, shrunk

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


# What asks for less here asks for more there: guardrails share one correction.
SHARED = [
    pair
    for pair in LOOSER
    if pair[0].startswith(("confidence", "min_slice_size"))
    or pair
    in [
        (", max_absolute_change: 0.1", ""),
        ("min_absolute_change: 0.01, ", ""),
        ("  - {columns: [distance], bins: 5, min_slice_size: 200}\n", ""),
        ("demographic_parity_ratio: {min: 0.8}, ", ""),
        (", difference: {recall: {max: 0.1}}", ""),
    ]
]


@pytest.mark.parametrize(
    ("before", "after"),
    [pair for pair in LOOSER if pair not in SHARED and "bins" not in pair[0]],
)
def test_asking_for_more_needs_none(before, after):
    found = changes(BASE.replace(before, after), BASE)
    assert found
    assert {change.effect for change in found} == {"stricter"}


@pytest.mark.parametrize(("before", "after"), SHARED)
def test_more_guardrails_see_less_each(before, after):
    found = changes(BASE.replace(before, after), BASE)
    assert "different" in {change.effect for change in found}, found


def test_a_first_guardrail_takes_nothing_from_others():
    alone = "metrics: {roc_auc: {threshold: 0.7}}"
    (change,) = changes(alone, alone.replace("}}", ", max_absolute_change: 0.1}}"))
    assert change.effect == "stricter"


def test_a_margin_loosens_where_there_was_none():
    """Without a margin of its own an improvement asks of slices not to be worse at all."""
    better = "metrics: {roc_auc: {min_absolute_change: 0}}\nslices: [{columns: [origin]}]"
    with_margin = better.replace("change: 0", "change: 0, non_inferiority_margin: 0.5")
    found = {change.where[-1]: change for change in changes(better, with_margin)}
    assert found["on slices"].needs_approval
    assert found["on slices"].text.endswith("not worse -> not worse by more than 0.5 (different)")


def test_what_the_frozen_set_is_asked_may_change_unsaid():
    head = HEAD.replace(
        "evaluation: evaluation.parquet",
        "evaluation: {development: d.parquet, release: r.parquet, regression: f.parquet}",
    )
    before = "metrics: {roc_auc: {threshold: 0.8}}"
    after = "metrics: {roc_auc: {threshold: 0.8, min_absolute_change: 0}}"
    found = {change.where[-1] for change in changes(before, after, head=head)}
    assert "on regression" in found
    assert not any(change.needs_approval for change in changes(before, after))


def test_the_metric_of_importance_is_compared_where_it_goes_without_saying():
    first = "metrics: {roc_auc: {threshold: 0.7}, log_loss: {threshold: 0.6}}\nexplanation: {}"
    second = "metrics: {log_loss: {threshold: 0.6}, roc_auc: {threshold: 0.7}}\nexplanation: {}"
    (change,) = changes(first, second)
    assert change.text == "gate.explanation.metric: roc_auc -> log_loss (different)"


def test_no_name_hides_another():
    gate = """
metrics: {roc_auc: {threshold: 0.7}}
slices:
  - {columns: ["a #2"], require: true}
  - {columns: [a], require: true}
  - {columns: [a], require: true, metrics: [roc_auc]}
"""
    dropped = gate.replace('  - {columns: ["a #2"], require: true}\n', "")
    assert any(change.effect == "looser" for change in changes(gate, dropped))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("target: late", "target: delayed"),
        ("id: row", "id: row\ngroup: day"),
        ("id: row", "id: row\nscore: package.module:other"),
        ("labels: [0, 1]", "labels: [0, 1]\npositive_label: 0"),
        ("evaluation: evaluation.parquet", "evaluation: easier.parquet"),
        ("name: late", "name: later"),
        ("id: row", "id: row\nregistry: embedded"),
        ("id: row", "id: row\nsensitive: [sex]"),
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


# What is asked of data, runs and images, from the strict word to the loose one.
ELSEWHERE = """\
train: {dvc_lock: fail}
pull-request: smoke
smoke: {command: make quick, metric: log_loss, floor: 0.5, max_loss: 0.1}
build:
  ready_within: 30s
  parity: {absolute: 0.001, relative: 0.01}
  latency: {p95: 100, requests: 200}
  allowed_imports: [model]
scan:
  severities: [CRITICAL, HIGH]
  misconfigurations: [CRITICAL, HIGH]
  unknown_severity: fail
  ignore_unfixed: false
  end_of_life: fail
  secrets: fail
  no_packages: fail
  max_waiver_days: 60
  waivers: [{id: CVE-1, reason: none, owner: ada, expires: 2027-01-01}]
"""
DATA = """evaluation.parquet, schema: schema.yaml, checks: {max_null_fraction: {distance: 0.1}, \
freshness: {max_age: 7d}, max_profile_distance: 0.2}"""
WAIVER = "{id: CVE-1, reason: none, owner: ada, expires: 2027-01-01}"


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        (", schema: schema.yaml", ""),
        ("distance: 0.1", "distance: 0.2"),
        ("{distance: 0.1}", "{}"),
        (" freshness: {max_age: 7d},", ""),
        ("max_age: 7d", "max_age: 2w"),
        ("max_profile_distance: 0.2", "max_profile_distance: 0.3"),
        ("dvc_lock: fail", "dvc_lock: report"),
        ("floor: 0.5", "floor: 0.6"),
        ("max_loss: 0.1", "max_loss: 0.2"),
        ("ready_within: 30s", "ready_within: 1m"),
        ("absolute: 0.001", "absolute: 0.01"),
        ("relative: 0.01", "relative: 0.1"),
        ("p95: 100", "p95: 200"),
        ("requests: 200", "requests: 20"),
        ("[model]", "[model, other]"),
        ("  severities: [CRITICAL, HIGH]", "  severities: [CRITICAL]"),
        ("misconfigurations: [CRITICAL, HIGH]", "misconfigurations: [CRITICAL]"),
        ("unknown_severity: fail", "unknown_severity: warn"),
        ("ignore_unfixed: false", "ignore_unfixed: true"),
        ("end_of_life: fail", "end_of_life: warn"),
        ("secrets: fail", "secrets: warn"),
        ("no_packages: fail", "no_packages: warn"),
        ("max_waiver_days: 60", "max_waiver_days: 90"),
        (WAIVER, f"{WAIVER}, {WAIVER.replace('CVE-1', 'CVE-2')}"),
        ("expires: 2027-01-01", "expires: 2027-02-01"),
    ],
)
def test_what_is_asked_of_data_runs_and_images_counts(strict, loose):
    head = HEAD.replace("evaluation.parquet", DATA).replace("gate:", f"{ELSEWHERE}gate:")
    assert head.count(strict) == 1
    there = changes(BASE, BASE, head=head, new_head=head.replace(strict, loose))
    assert [change.effect for change in there] == ["looser"]
    back = changes(BASE, BASE, head=head.replace(strict, loose), new_head=head)
    assert [change.effect for change in back] == ["stricter"]


def test_the_section_of_a_run_that_is_none_has_no_say():
    head = HEAD.replace("gate:", f"{ELSEWHERE}gate:").replace("request: smoke", "request: full")
    assert changes(BASE, BASE, head=head, new_head=head.replace("floor: 0.5", "floor: 9")) == []


def test_two_entries_of_the_same_columns_are_two():
    twice = "  - {columns: [sex], difference: {accuracy: {max: 0.2}}}\n"
    before = BASE.replace("min_rows", f"{twice}min_rows")
    (change,) = changes(before, before.replace("{min: 0.8}", "{min: 0.7}"))
    assert change.effect == "looser"
    (dropped,) = changes(before, before.replace(twice, ""))
    assert dropped.text.startswith("gate.fairness.sex #2: dropped")


def other(value):
    """A value of the same kind, and not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, datetime.date):
        return value + datetime.timedelta(days=1)
    if isinstance(value, str):
        return {"full": "smoke", "smoke": "full"}.get(value, "9w" if value[0].isdigit() else "x")
    if isinstance(value, list):
        return value[1:] if value else ["x"]
    if isinstance(value, dict):
        return dict(list(value.items())[1:]) if value else {"x": LargestGap(max=1)}
    return None if value else "x"


def section(annotation):
    """An empty section, where a key may hold one."""
    kinds = [kind for kind in typing.get_args(annotation) if isinstance(kind, type)]
    found = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
    return found and found.model_construct()


def altered(model, where=()):
    """Every way to change one key of a section: the key, and the section after it."""
    for name, field in type(model).model_fields.items():
        value, place = getattr(model, name), (*where, field.alias or name)
        if isinstance(value, BaseModel) and ".".join(place) not in FREE:
            for inner, after in altered(value, place):
                yield inner, model.model_copy(update={name: after})
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for inner, after in altered(value[0], place):
                yield inner, model.model_copy(update={name: [after, *value[1:]]})
        else:
            new = (value is None and section(field.annotation)) or other(value)
            yield ".".join(place), model.model_copy(update={name: new})


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_no_key_is_forgotten():
    head = HEAD.replace("evaluation.parquet", DATA).replace("gate:", f"{ELSEWHERE}gate:")
    config = project(BASE, head=head).config
    seen = dict(altered(config))
    assert len(seen) > 100
    silent = {where for where, after in seen.items() if not policy_changes(config, after)}
    assert silent == FREE


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
