"""Predictions are paired by id, and what does not fit is a failing check with a reason."""

import datetime
import math

import numpy as np
import polars as pl
import pytest
from gate_files import HEAD, answers, project, rows, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_actions.gate import predictions
from mlops_actions.gate.predictions import SetInput

POLICY = "metrics: {roc_auc: {threshold: 0.7}}"
SLOW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read(folder, *, gate=POLICY, head=HEAD, cutoffs=(), columns=(), needs=None, **frames):
    paths = write(folder, **frames)
    return predictions.read(
        "development",
        SetInput(**paths, cutoffs=cutoffs),
        project(gate, head=head).config,
        columns=columns,
        **(needs or {"probability": True}),
    )


def failing(paired):
    return [item["message"] for item in paired.checks if item["status"] == "fail"]


def only(paired):
    messages = failing(paired)
    assert len(messages) == 1, messages
    return messages[0]


@pytest.fixture(scope="module")
def data():
    return rows()


@pytest.fixture(scope="module")
def candidate(data):
    return answers(data)


@pytest.fixture(scope="module")
def champion(data):
    return answers(data, seed=2)


def test_a_set_that_fits(tmp_path, candidate, champion):
    paired = read(tmp_path, candidate=candidate, champion=champion, columns=["origin"])
    assert failing(paired) == []
    assert len(paired) == len(paired.candidate) == len(paired.champion) == candidate.height
    assert paired.candidate.positive == 1
    assert np.array_equal(paired.candidate.target, candidate["target"])
    assert paired.rows["origin"].equals(candidate["origin"])
    assert not paired.identical


@SLOW
@given(order=st.permutations(range(30)), reversed_keys=st.booleans())
def test_any_order_of_rows_is_the_same_set(tmp_path, order, reversed_keys):
    keys = rows(30)
    first, second = answers(keys, seed=1), answers(keys, seed=2)
    evaluation = keys.select(pl.col("id").alias("row"), pl.col("target").alias("late"), "origin")
    straight = read(tmp_path, candidate=first, champion=second, evaluation=evaluation)
    shuffled = read(
        tmp_path,
        candidate=first[list(order)],
        champion=second.reverse() if reversed_keys else second,
        evaluation=evaluation,
    )
    for side in ("candidate", "champion"):
        for name in ("target", "prediction", "probability"):
            mine, theirs = (getattr(getattr(one, side), name) for one in (straight, shuffled))
            assert np.array_equal(mine, theirs)
    assert straight.digest == shuffled.digest


@SLOW
@given(
    missing=st.sets(st.integers(0, 29), max_size=4),
    extra=st.sets(st.integers(100, 120), max_size=4),
    twice=st.sets(st.integers(0, 29), max_size=2),
)
def test_other_ids_are_never_paired(tmp_path, missing, extra, twice):
    keys = rows(30)
    first = answers(keys)
    other = answers(keys, seed=2).filter(~pl.col("id").is_in(list(missing)))
    again = other.filter(pl.col("id").is_in(list(twice)))
    added = answers(rows(len(extra) or 1)).with_columns(
        id=pl.Series(sorted(extra) or [0], dtype=pl.Int64)
    )
    other = pl.concat([other, again, *([added] if extra else [])])
    paired = read(tmp_path, candidate=first, champion=other)
    if again.height:
        assert "more than once" in only(paired)
    elif missing or extra:
        message = only(paired)
        assert ("have no prediction" in message) == bool(missing)
        assert ("not in the evaluation set" in message) == bool(extra)
        if missing:
            assert f"{len(missing)} ids of" in message
            assert f"such as {min(missing)}" in message
    else:
        assert failing(paired) == []


BAD_NUMBERS = [float("nan"), float("inf"), float("-inf"), None]


@SLOW
@given(place=st.integers(0, 29), bad=st.sampled_from(BAD_NUMBERS), side=st.sampled_from("ab"))
def test_a_number_that_is_none_fails(tmp_path, place, bad, side):
    keys = rows(30)
    frames = {"candidate": answers(keys), "champion": answers(keys, seed=2)}
    name = "candidate" if side == "a" else "champion"
    values = frames[name]["probability_1"].to_list()
    values[place] = bad
    frames[name] = frames[name].with_columns(probability_1=pl.Series(values, dtype=pl.Float64))
    paired = read(tmp_path, **frames)
    assert "1 of 30 values of probability_1 are missing, NaN or infinite" in only(paired)
    assert getattr(paired, name) is None


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_a_prediction_that_is_none_fails_in_regression(tmp_path, bad):
    head = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")
    frame = pl.DataFrame({"id": [1, 2], "target": [0.5, 1.5], "prediction": [0.5, bad]})
    gate = "metrics: {r2: {threshold: 0.1}}"
    paired = read(tmp_path, candidate=frame, head=head, gate=gate, needs={"losses": ()})
    assert "1 of 2 values of prediction" in only(paired)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability_1": 1.5}, "outside [0, 1]"),
        ({"probability_1": -0.1}, "outside [0, 1]"),
        ({"probability_0": 0.9, "probability_1": 0.9}, "do not sum to 1"),
        ({"prediction": 2}, "none of the labels [0, 1], such as 2"),
        ({"prediction": None}, "values of prediction are missing"),
        ({"prediction": 0.5}, "prediction has fractions"),
        ({"prediction": "late"}, "the labels in mlops.yaml are not all text"),
        ({"target": 7}, "values of target are none of the labels"),
        ({"target": None}, "values of target are missing"),
        ({"probability_2": 0.0}, "probability_2, which is none of the labels"),
        ({"probability": 0.5}, "only one form can be right"),
        ({"id": None}, "rows of the candidate have no id"),
        ({"id": 1.5}, "ids of the candidate are Float64"),
        ({"id": 3}, "1 ids of the candidate occur more than once, such as 3"),
    ],
)
def test_a_column_that_does_not_fit(tmp_path, candidate, change, message):
    frame = candidate.with_columns(
        **{
            name: pl.lit(value, dtype=pl.Int64) if value is None else pl.lit(value)
            for name, value in change.items()
        }
    )
    assert message in only(read(tmp_path, candidate=frame))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("id", "id"),
        ("target", "target"),
        ("prediction", "prediction"),
        ("probability_0", "probability_0"),
        ("probability_1", "probability_1"),
        ("origin", "origin"),
    ],
)
def test_a_missing_column_is_named(tmp_path, candidate, name, said):
    paired = read(tmp_path, candidate=candidate.drop(name), columns=["origin"])
    assert f"has no column {said}" in only(paired)


def test_probabilities_that_no_metric_reads_may_be_missing(tmp_path, candidate):
    frame = candidate.drop("probability_0", "probability_1")
    paired = read(tmp_path, candidate=frame, needs={"probability": False})
    assert failing(paired) == []
    assert paired.candidate.probability is None


@pytest.mark.parametrize(("need", "name"), [("quantiles", "quantile_0.9"), ("losses", "loss_a")])
def test_a_column_that_a_metric_reads_must_be_there(tmp_path, candidate, need, name):
    value = [0.9] if need == "quantiles" else ["a"]
    paired = read(tmp_path, candidate=candidate, needs={need: value})
    assert f"has no column {name}" in only(paired)
    frame = candidate.with_columns(pl.lit(1.0).alias(name))
    assert failing(read(tmp_path, candidate=frame, needs={need: value})) == []


def test_one_probability_is_of_the_positive_class(tmp_path, candidate):
    single = candidate.drop("probability_0").rename({"probability_1": "probability"})
    both = read(tmp_path, candidate=candidate)
    one = read(tmp_path, candidate=single)
    assert np.allclose(one.candidate.probability, both.candidate.probability)
    turned = read(
        tmp_path, candidate=single, head=HEAD.replace("id: row", "positive_label: 0\nid: row")
    )
    assert np.allclose(turned.candidate.probability, both.candidate.probability[:, ::-1])


def test_labels_may_be_text_or_booleans(tmp_path, candidate):
    text = candidate.with_columns(
        pl.col("target", "prediction").replace_strict({0: "no", 1: "yes"}, return_dtype=pl.String)
    ).rename({"probability_0": "probability_no", "probability_1": "probability_yes"})
    head = HEAD.replace("[0, 1]", '["no", "yes"]')
    paired = read(tmp_path, candidate=text, head=head)
    assert failing(paired) == []
    assert np.array_equal(paired.candidate.target, candidate["target"])
    truth = candidate.with_columns(pl.col("target", "prediction").cast(pl.Boolean)).rename(
        {"probability_0": "probability_False", "probability_1": "probability_True"}
    )
    paired = read(tmp_path, candidate=truth, head=HEAD.replace("[0, 1]", "[false, true]"))
    assert failing(paired) == []
    assert np.array_equal(paired.candidate.target, candidate["target"])


def test_ids_of_another_type_are_not_guessed(tmp_path, candidate, champion):
    text = champion.with_columns(pl.col("id").cast(pl.String))
    message = only(read(tmp_path, candidate=candidate, champion=text))
    assert "ids of the champion are String, those of the evaluation set Int64" in message
    narrow = champion.with_columns(pl.col("id").cast(pl.UInt16))
    assert failing(read(tmp_path, candidate=candidate, champion=narrow)) == []


def test_a_target_that_disagrees_fails(tmp_path, candidate, champion):
    other = champion.with_columns(
        pl.when(pl.col("id") < 3).then(1 - pl.col("target")).otherwise("target").alias("target")
    )
    assert "3 targets of the champion disagree" in only(
        read(tmp_path, candidate=candidate, champion=other)
    )
    no_target = champion.drop("target")
    assert "has no column target" in only(read(tmp_path, candidate=candidate, champion=no_target))


def test_the_evaluation_file_has_the_last_word(tmp_path, data, candidate):
    evaluation = data.select(
        pl.col("id").alias("row"), pl.col("target").alias("late"), pl.lit("X").alias("origin")
    )
    paired = read(
        tmp_path, candidate=candidate.drop("target"), evaluation=evaluation, columns=["origin"]
    )
    assert failing(paired) == []
    assert paired.rows["origin"].unique().to_list() == ["X"]
    forged = candidate.with_columns(target=1 - pl.col("target"))
    assert "disagree" in only(read(tmp_path, candidate=forged, evaluation=evaluation))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), None])
def test_weights_are_numbers_from_zero(tmp_path, candidate, weight):
    head = HEAD.replace("id: row", "id: row\nweight: w")
    frame = candidate.with_columns(
        weight=pl.Series([weight] + [1.0] * (candidate.height - 1), dtype=pl.Float64)
    )
    message = only(read(tmp_path, candidate=frame, head=head))
    assert "weight" in message
    zero = candidate.with_columns(weight=pl.lit(0.0))
    assert "All weights are zero" in only(read(tmp_path, candidate=zero, head=head))


def test_groups_are_numbered_and_never_missing(tmp_path, candidate):
    head = HEAD.replace("id: row", "id: row\ngroup: day")
    days = pl.Series([f"d{place % 7}" for place in range(candidate.height)])
    paired = read(tmp_path, candidate=candidate.with_columns(group=days), head=head)
    assert paired.groups == 7
    assert paired.candidate.group[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    days[3] = None
    missing = pl.Series([float(place % 7) for place in range(candidate.height)])
    missing[3] = math.nan
    for group in (days, missing):
        paired = read(tmp_path, candidate=candidate.with_columns(group=group), head=head)
        assert "1 rows have no group" in only(paired)


def test_a_cut_off_outside_the_calendar_is_no_crash(tmp_path, candidate):
    head = HEAD.replace("id: row", "id: row\ntime: at").replace("data: {", "data: {gap: 2d, ")
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    frame = candidate.with_columns(time=pl.lit(start))
    last = (datetime.datetime.max.replace(tzinfo=datetime.UTC),)
    assert "outside the calendar" in only(read(tmp_path, candidate=frame, head=head, cutoffs=last))


@pytest.mark.parametrize("kind", [pl.Int32, pl.UInt64, pl.Int128])
def test_whole_ids_and_labels_of_any_width_are_the_same(tmp_path, candidate, kind):
    wide = candidate.with_columns(pl.col("id", "target", "prediction").cast(kind))
    paired = read(tmp_path, candidate=wide, champion=candidate)
    assert failing(paired) == []
    assert paired.identical


def test_rows_up_to_the_cut_off_and_the_gap_are_left_out(tmp_path, candidate):
    head = HEAD.replace("id: row", "id: row\ntime: at").replace("data: {", "data: {gap: 2d, ")
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    times = [start + datetime.timedelta(days=place % 10) for place in range(candidate.height)]
    frame = candidate.with_columns(time=pl.Series(times))
    cutoffs = (datetime.datetime(2026, 1, 2), start + datetime.timedelta(days=3))  # noqa: DTZ001
    paired = read(tmp_path, candidate=frame, champion=frame, head=head, cutoffs=cutoffs)
    assert failing(paired) == []
    assert len(paired) == len(paired.candidate) == len(paired.champion) == 160  # Days 6 to 9.
    assert paired.left_out == 240
    as_text = frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%d"))
    assert len(read(tmp_path, candidate=as_text, head=head, cutoffs=cutoffs)) == 160
    as_date = frame.with_columns(pl.col("time").dt.date())
    assert len(read(tmp_path, candidate=as_date, head=head, cutoffs=cutoffs)) == 160
    nothing = read(
        tmp_path, candidate=frame, head=head, cutoffs=(start + datetime.timedelta(days=99),)
    )
    assert len(nothing) == 0
    number = frame.with_columns(time=pl.lit(1))
    message = only(read(tmp_path, candidate=number, head=head, cutoffs=cutoffs))
    assert "not a date or a time" in message
    assert "no time column" in only(read(tmp_path, candidate=frame, cutoffs=cutoffs))


def test_identical_answers_are_seen(tmp_path, candidate):
    assert read(tmp_path, candidate=candidate, champion=candidate.reverse()).identical
    moved = candidate.with_columns(pl.col("probability_1") - 1e-12, pl.col("probability_0") + 1e-12)
    assert not read(tmp_path, candidate=candidate, champion=moved).identical


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", None])
def test_a_file_that_cannot_be_read_fails(tmp_path, candidate, content):
    write(tmp_path, candidate=candidate)
    path = tmp_path / "champion.parquet"
    if content is not None:
        path.write_bytes(content)
    paired = predictions.read(
        "development",
        SetInput(candidate=tmp_path / "candidate.parquet", champion=path),
        project(POLICY).config,
        columns=[],
    )
    message = only(paired)
    assert "is missing" in message or "cannot be read as Parquet" in message
    assert paired.champion is None


def test_a_name_with_wildcards_is_a_name(tmp_path, candidate):
    folder = tmp_path / "run [1] *"
    folder.mkdir()
    assert failing(read(folder, candidate=candidate)) == []


def test_categories_are_text(tmp_path, candidate):
    frame = candidate.with_columns(pl.col("origin").cast(pl.Categorical))
    paired = read(tmp_path, candidate=frame, columns=["origin"])
    assert failing(paired) == []
    assert paired.rows["origin"].dtype == pl.String


@pytest.mark.parametrize("name", ["id", "target", "origin"])
def test_a_column_of_lists_fails(tmp_path, candidate, name):
    frame = candidate.with_columns(pl.concat_list(name).alias(name))
    message = only(read(tmp_path, candidate=frame, columns=["origin"]))
    assert f"The column {name} is List" in message


def test_no_rows_fail(tmp_path, candidate):
    assert "has no rows" in only(read(tmp_path, candidate=candidate.head(0)))


def test_a_sensitive_id_is_not_printed(tmp_path, candidate, champion):
    head = HEAD.replace("id: row", "id: row\nsensitive: [row]")
    message = only(read(tmp_path, candidate=candidate, champion=champion[1:], head=head))
    assert "1 ids of the evaluation set have no prediction" in message
    assert "such as" not in message
