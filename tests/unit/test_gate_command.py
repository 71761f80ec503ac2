"""The file interface: arguments, exit codes, what is printed and written."""

import json

import polars as pl
import pytest
from gate_files import HEAD, answers, rows, write

from mlops_actions import cli

GATE = """gate:
  metrics:
    roc_auc: {threshold: 0.7, non_inferiority_margin: 0.05}
  slices:
    - columns: [origin]
"""


@pytest.fixture
def files(tmp_path):
    keys = rows(1000)
    paths = write(
        tmp_path,
        candidate=answers(keys, seed=1),
        champion=answers(keys, seed=2),
        bad=answers(keys, noise=5, seed=3),
    )
    paths["config"] = tmp_path / "mlops.yaml"
    paths["config"].write_text(HEAD.removesuffix("gate:\n") + GATE)
    paths["output"] = tmp_path / "out" / "gate.json"
    return paths


def gate(files, candidate="candidate", champion="champion", **more):
    words = ["gate", "--candidate", str(files[candidate]), "--config", str(files["config"])]
    words += ["--output", str(files["output"])]
    if champion:
        words += ["--champion", str(files[champion])]
    for name, value in more.items():
        words += [f"--{name}", str(value)]
    return cli.main(words)


def predicate(files):
    return json.loads(files["output"].read_text())["predicate"]


def test_blessed(files, capsys):
    assert gate(files) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "verdict: blessed"
    assert any("roc_auc" in line and line.endswith("pass") for line in out)
    assert "slices: 3 judged, 0 not passed, 0 too small" in out
    body = predicate(files)
    assert body["verdict"] == "blessed"
    assert body["gated"] is True
    assert [item["name"] for item in body["inputs"]] == ["candidate", "champion", "config"]


def test_rejected_says_why_first(files, capsys):
    assert gate(files, candidate="bad") == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "verdict: rejected"
    assert "required: at least 0.7" in lines[1]
    assert "error: development: roc_auc changed by -" in captured.err
    assert predicate(files)["verdict"] == "rejected"


def test_unchanged(files):
    assert gate(files, champion="candidate") == 0
    assert predicate(files)["verdict"] == "unchanged"


def test_a_dry_run_stops_nothing_and_says_so(files, capsys):
    files["config"].write_text(files["config"].read_text() + "  mode: dry_run\n")
    assert gate(files, candidate="bad") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("verdict: rejected (not gated: dry_run)")
    assert "warning: This verdict decided nothing" in captured.err
    assert predicate(files)["gated"] is False


def test_the_evaluation_file_is_used(files, tmp_path):
    keys = rows(1000).select(
        pl.col("id").alias("row"), pl.col("target").alias("late"), pl.lit("X").alias("origin")
    )
    path = write(tmp_path, evaluation=keys)["evaluation"]
    assert gate(files, evaluation=path) == 0
    assert {row["slice"] for row in predicate(files)["slices"]} == {"origin=X"}


@pytest.mark.parametrize("name", ["candidate", "champion"])
def test_a_file_that_is_not_there_is_a_wrong_call(files, capsys, name):
    files[name] = files[name].with_name("none.parquet")
    assert gate(files) == 2
    assert f"There is no such file, given as --{name}" in capsys.readouterr().err
    assert not files["output"].exists()


def test_a_policy_that_cannot_be_is_a_wrong_configuration(files, capsys):
    files["config"].write_text(files["config"].read_text().replace("roc_auc", "roc_acu"))
    assert gate(files) == 2
    assert (
        "mlops.yaml:9: The metric 'roc_acu' does not exist. Did you mean roc_auc or roc_auc_ovr?\n"
        in capsys.readouterr().err
    )


def test_a_broken_file_is_rejected_not_a_crash(files, capsys):
    files["candidate"].write_bytes(b"PAR1 not really")
    assert gate(files) == 1
    assert "cannot be read as Parquet" in capsys.readouterr().out
    assert predicate(files)["verdict"] == "rejected"


def test_the_anchor_is_asked_too(files):
    assert gate(files, anchor=files["champion"]) == 0
    assert [row["against"] for row in predicate(files)["metrics"]] == ["champion", "anchor"]
    better = files["champion"].with_name("better.parquet")
    answers(rows(1000), noise=0, seed=2).with_columns(
        probability_1=pl.col("target") * 0.8 + 0.1, probability_0=0.9 - pl.col("target") * 0.8
    ).write_parquet(better)
    assert gate(files, anchor=better) == 1
    assert "roc_auc against the anchor" in predicate(files)["reasons"][0]


def test_verdicts_before_this_one_ask_for_more(files, capsys):
    assert gate(files, set="release", earlier=4) == 0
    body = predicate(files)
    assert body["policy"]["verdict"] == 5
    assert body["policy"]["level"] > 0.99
    assert gate(files, earlier=4) == 2
    assert "Only verdicts on the release set count" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("newest", "code", "said"),
    [(2, 0, "Overruled by ada, up to version 3"), (3, 1, "it ended with version 3"), (None, 1, "")],
)
def test_an_override_lets_through_until_its_version(files, newest, code, said):
    override = '  override: {who: ada, why: "The old one must go.", until: 3}\n'
    files["config"].write_text(files["config"].read_text() + override)
    more = {} if newest is None else {"newest-version": newest}
    assert gate(files, candidate="bad", **more) == code
    body = predicate(files)
    assert any(said in text for text in body["warnings"])
    assert (body["override"] is not None) == (code == 0)
    if newest is None:
        assert any("is not known" in text for text in body["warnings"])


def test_the_champions_own_evidence_is_expected_and_told(files):
    assert gate(files) == 0
    earlier = files["output"].with_name("champion.json")
    document = json.loads(files["output"].read_text())
    document["predicate"]["override"] = {"verdict": "rejected", "who": "ada", "why": "It must."}
    earlier.write_text(json.dumps(document))
    fewer = pl.read_parquet(files["candidate"]).filter(pl.col("origin") != "JFK")
    other = pl.read_parquet(files["champion"]).filter(pl.col("origin") != "JFK")
    files |= write(files["candidate"].parent, fewer=fewer, other=other)
    assert gate(files, candidate="fewer", champion="other") == 0
    assert gate(files, "fewer", "other", **{"champion-evidence": earlier}) == 1
    body = predicate(files)
    assert "The champion was judged on the slice origin=JFK" in body["reasons"][0]
    assert "The champion was let through against the verdict rejected by ada" in body["warnings"][0]


def test_rows_up_to_the_cut_off_are_left_out(files):
    head = HEAD.replace("id: row", "id: row\ntime: day").removesuffix("gate:\n")
    files["config"].write_text(head + GATE)
    for name in ("candidate", "champion"):
        frame = pl.read_parquet(files[name])
        day = pl.datetime(2026, 1, 1) + pl.duration(days=pl.col("id") // 10)
        frame.with_columns(time=day).write_parquet(files[name])
    assert gate(files, cutoff="2026-01-10T23:00") == 0
    assert predicate(files)["evaluation"]["development"]["left_out"] == 100
    with pytest.raises(SystemExit):
        gate(files, cutoff="yesterday")


def test_what_a_handover_says_itself_is_not_given(files, capsys):
    words = ["gate", "--handover", str(files["candidate"].parent), "--earlier", "3"]
    words += ["--config", str(files["config"]), "--output", str(files["output"])]
    assert cli.main(words) == 2
    assert "--earlier goes with --candidate" in capsys.readouterr().err


def test_a_handover_is_not_believed_without_the_digest(files, capsys):
    words = ["gate", "--handover", str(files["candidate"].parent)]
    words += ["--config", str(files["config"]), "--output", str(files["output"])]
    assert cli.main(words) == 2
    assert "--handover needs --validate-digest" in capsys.readouterr().err
    assert not files["output"].exists()


@pytest.mark.parametrize("name", ["candidate", "champion", "config"])
def test_nothing_that_is_given_is_written_over(files, capsys, name):
    before = files[name].read_bytes()
    assert gate(files | {"output": files[name]}) == 2
    assert "--output would replace another file" in capsys.readouterr().err
    assert files[name].read_bytes() == before


def test_an_earlier_verdict_does_not_outlive_a_wrong_call(files):
    assert gate(files) == 0
    files["config"].write_text(files["config"].read_text().replace("roc_auc", "roc_acu"))
    assert gate(files) == 2
    assert not files["output"].exists()


def test_bins_need_a_column_of_numbers(files):
    text = files["config"].read_text()
    files["config"].write_text(text.replace("[origin]", "[origin]\n      bins: 4"))
    assert gate(files) == 1
    said = predicate(files)["reasons"]
    assert said == ["The slices of origin have bins, which need a column of numbers."]
