"""What the server lets through to the model, and what it says about the rest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_actions.serving.inputs import Refused, Signature, read

SIGNATURE = Signature.parse(
    json.dumps(
        [
            {"type": "string", "name": "carrier", "required": True},
            {"type": "long", "name": "distance", "required": True},
            {"type": "double", "name": "delay", "required": True},
            {"type": "boolean", "name": "night", "required": False},
            {"type": "datetime", "name": "at", "required": False},
            {"type": "integer", "name": "seats", "required": False},
        ]
    )
)
GOOD = {"carrier": "AA", "distance": 10, "delay": 1.5}


def ask(document, signature=SIGNATURE, *, max_rows=100):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read(body, signature, max_rows=max_rows)


def refusal(document, signature=SIGNATURE, **options) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(document, signature, **options)
    return caught.value


def test_the_three_forms_say_the_same():
    records = ask({"records": [GOOD]})
    assert records.columns == {"carrier": ["AA"], "distance": [10], "delay": [1.5]}
    assert ask({"dataframe_records": [GOOD]}) == records
    split = {"columns": ["delay", "carrier", "distance"], "data": [[1.5, "AA", 10]]}
    assert ask({"dataframe_split": split}) == records


def test_columns_come_in_the_order_of_the_signature():
    table = ask({"records": [dict(reversed(GOOD.items()))]})
    assert list(table.columns) == ["carrier", "distance", "delay"]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"distance": "far"}, "distance", "expected a whole number, got a string"),
        ({"distance": 1.5}, "distance", "got a fraction"),
        ({"distance": True}, "distance", "got a boolean"),
        ({"distance": None}, "distance", "got null"),
        ({"distance": 1 << 63}, "distance", "64 bits do not hold"),
        ({"distance": -(1 << 63) - 1}, "distance", "64 bits do not hold"),
        ({"seats": 1 << 31}, "seats", "32 bits do not hold"),
        ({"delay": "1"}, "delay", "expected a number, got a string"),
        ({"delay": False}, "delay", "got a boolean"),
        ({"delay": 10**400}, "delay", "too large"),
        ({"delay": [1]}, "delay", "got a list"),
        ({"carrier": 1}, "carrier", "expected a string, got a number"),
        ({"carrier": {}}, "carrier", "got an object"),
        ({"night": 1}, "night", "expected true or false"),
        ({"at": "yesterday"}, "at", "expected a date and time"),
        ({"at": 5}, "at", "expected a date and time"),
        ({"at": "0001-01-01T00:00:00+23:00"}, "at", "expected a date and time"),
        ({"at": "3000-01-01"}, "at", "expected a time from 1677-09-22 to 2262-04-11"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_field_and_row(change, field, message):
    caught = refusal({"records": [GOOD, {**GOOD, **change}]})
    assert caught.status == 422
    last = caught.problems[-1]
    assert (last.field, last.row) == (field, 1)
    assert message in last.message
    assert f"{caught.problems[0].field}, row" in caught.message


def test_a_missing_field_is_named():
    caught = refusal({"records": [{"carrier": "AA", "distance": 1}]})
    assert [(one.field, one.message) for one in caught.problems] == [("delay", "missing")]


def test_an_optional_field_may_be_missing_everywhere_but_not_null_where_null_has_no_place():
    assert "night" not in ask({"records": [GOOD]}).columns
    assert refusal({"records": [{**GOOD, "night": True}, GOOD]}).problems[0].field == "night"


def test_null_is_a_missing_value_where_the_type_has_one():
    table = ask({"records": [{**GOOD, "delay": None, "carrier": None}]})
    assert table.columns["delay"][0] != table.columns["delay"][0]  # NaN.
    assert table.columns["carrier"] == [None]


def test_a_whole_float_is_a_whole_number():
    assert ask({"records": [{**GOOD, "distance": 10.0}]}).columns["distance"] == [10]


def test_a_zone_becomes_utc():
    table = ask({"records": [{**GOOD, "at": "2026-01-31T12:00:00+02:00"}]})
    assert table.columns["at"][0].isoformat() == "2026-01-31T10:00:00"


def test_columns_of_another_version_are_ignored():
    assert "tomorrow" not in ask({"records": [{**GOOD, "tomorrow": 1}]}).columns


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b"null",
        b'{"records": [{"delay": NaN}]}',
        b'{"records": [{"delay": Infinity}]}',
        b"[" * 100_000,
        b'{"rows": []}',
        b'{"records": [], "dataframe_split": {}}',
        b'{"records": [{"distance": ' + b"9" * 5000 + b"}]}",
    ],
)
def test_what_is_no_request_is_400(body):
    assert refusal(body).status == 400


@pytest.mark.parametrize(
    "document",
    [
        {"records": []},
        {"records": {}},
        {"records": [1]},
        {"records": None},
        {"dataframe_split": []},
        {"dataframe_split": {"columns": ["a"]}},
        {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": [1], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a"], "data": [1]}},
        {"inputs": [[1]]},
        {"records": [GOOD], "params": {"temperature": 1}},
    ],
)
def test_what_has_the_wrong_shape_is_422(document):
    assert refusal(document).status == 422


def test_too_many_rows_are_413():
    assert refusal({"records": [GOOD] * 3}, max_rows=2).status == 413
    assert ask({"records": [GOOD] * 2}, max_rows=2).rows == 2


def test_a_flood_of_problems_is_cut():
    caught = refusal({"records": [{"distance": "x"}] * 90})
    assert len(caught.problems) == 20


def test_without_a_signature_anything_with_rows_goes():
    table = ask({"records": [{"a": 1, "b": "x"}]}, Signature())
    assert table.columns == {"a": [1], "b": ["x"]}


TENSOR = Signature.parse(
    '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'
)


def test_an_array_model_takes_inputs():
    assert ask({"inputs": [[1, 2], [3, 4.5]]}, TENSOR).tensor == [[1.0, 2.0], [3.0, 4.5]]
    assert refusal({"inputs": [[1, 2], [3]]}, TENSOR).problems[0].row == 1
    assert refusal({"inputs": [[1, "2"]]}, TENSOR).status == 422
    assert refusal({"records": [{"a": 1}]}, TENSOR).status == 422


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["records", "columns",
        "data", "dataframe_split", "distance", "delay", "carrier", "at"]), inner),
    max_leaves=20,
))  # fmt: skip
def test_nothing_but_a_refusal_comes_of_nonsense(document):
    try:
        ask(json.dumps(document).replace("Infinity", "1").encode())
    except Refused as caught:
        assert caught.status in {400, 413, 422}  # noqa: PT017 - most examples are refused.
