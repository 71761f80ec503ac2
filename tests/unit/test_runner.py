"""The runner where it needs no project; in one, and with its models: end_to_end/test_stages.py."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mlops_actions import runner


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (SystemExit(0), "ended the process: sys.exit(0)"),
        (SystemExit("done"), "ended the process: sys.exit('done')"),
        (ValueError("no\nsuch"), "ValueError: no"),
        (runner.Wrong("That is wrong."), "That is wrong."),
    ],
)
def test_the_last_line_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    said: str,
) -> None:
    def score(_: object) -> None:
        raise raised

    monkeypatch.setattr(runner, "score", score)
    monkeypatch.setattr(sys, "argv", ["runner.py", "score"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}\n"))
    assert runner.main() == runner.WRONG
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def polars_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for a project without pandas, whether our environment has it or not."""
    monkeypatch.setattr(runner, "_frames", lambda: (pl, False))


def answer(frame: Any) -> dict[str, Any]:
    return {"prediction": frame["x"].to_numpy()}


@pytest.mark.usefixtures("polars_only")
def test_ids_are_those_that_were_fixed(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("id,x\n007,1\n008,2\n")
    pl.DataFrame({"id": ["007", "008"]}).write_parquet(tmp_path / "ids.parquet")
    part = {
        "files": [str(tmp_path / "set.csv")],
        "ids": str(tmp_path / "ids.parquet"),
        "output": str(tmp_path / "out" / "candidate.parquet"),
    }
    runner._score_set(answer, part, "id")
    scored = pl.read_parquet(part["output"])
    assert scored.to_dict(as_series=False) == {"id": ["007", "008"], "prediction": [1, 2]}
    runner._score_set(answer, part | {"ids": None}, "id")
    assert pl.read_parquet(part["output"])["id"].to_list() == [7, 8]


class Index(list[int]):
    """As much of pandas' as is asked; our environment has no pandas."""

    def equals(self, other: Index) -> bool:
        return self == other

    def sort_values(self) -> Index:
        return Index(sorted(self))


class Column(list[int]):
    """A column, or a frame, with an index."""

    def __init__(self, *index: int) -> None:
        super().__init__(index)
        self.index = Index(index)  # type: ignore[assignment]

    def to_numpy(self) -> Column:
        return self


def test_an_answer_that_says_itself_that_it_is_in_another_order_is_refused() -> None:
    frame = Column(0, 1, 2)
    for fits in (Column(0, 1, 2), Column(5, 6, 7), [2, 1, 0]):
        runner._refuse_mixed(frame, {"prediction": fits})
    runner._refuse_mixed(pl.DataFrame({"x": [1, 2, 3]}), {"prediction": Column(2, 1, 0)})
    with pytest.raises(runner.Wrong, match="in another order"):
        runner._refuse_mixed(frame, {"prediction": Column(2, 1, 0)})
    with pytest.raises(runner.Wrong, match="one text"):
        runner._refuse_mixed(frame, {"prediction": "abc"})


@pytest.mark.usefixtures("polars_only")
def test_rows_that_are_not_those_of_the_ids_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("id,x\n7,1\n")
    pl.DataFrame({"id": [7, 8]}).write_parquet(tmp_path / "ids.parquet")
    part = {"files": [str(tmp_path / "set.csv")], "ids": str(tmp_path / "ids.parquet")}
    with pytest.raises(runner.Wrong, match="2 ids; the project reads 1 rows"):
        runner._score_set(answer, part, "id")
