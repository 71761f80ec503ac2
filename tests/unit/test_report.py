"""What a report says, and that nothing of what it is told can act in it."""

from __future__ import annotations

import html.parser
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import report_samples

from mlops_actions import github, report
from mlops_actions.report import charts, findings, markdown, words
from mlops_actions.report.gather import gather
from mlops_actions.report.html import render as render_page

SAMPLES = report_samples.SAMPLES
CONTEXT = {"commit": None, "run_url": None, "restricted": None, "pull_request": None}


def written(folder: Path, name: str, **options: Any) -> tuple[str, str]:
    report_samples.write(folder, SAMPLES[name]())
    made = report.write(
        folder, folder / "out", name="flights", baseline=folder / "baseline", **options
    )
    return made.markdown.read_text(), made.html.read_text()


def told(documents: report_samples.Documents) -> findings.Findings:
    return gather({name.removesuffix(".json"): one for name, one in documents.items()})


def in_markdown(documents: report_samples.Documents) -> str:
    return markdown.render(told(documents), **CONTEXT)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blessed", "✅ flights: blessed"),
        ("rejected", "❌ flights: rejected"),
        ("inconclusive", "⚠️ flights: inconclusive"),
        ("unchanged", "✅ flights: unchanged"),
        ("bootstrap", "✅ flights: blessed (first model)"),
        ("validation_failed", "❌ flights: rejected (data validation)"),
        ("train_failed", "⚠️ flights: inconclusive (training)"),
        ("fork", "⚠️ flights: inconclusive"),
        ("dry_run", "⚠️ flights: rejected (dry run: stops nothing)"),
    ],
)
def test_verdict_in_one_line(name: str, expected: str) -> None:
    documents = SAMPLES[name]()
    assert report.verdict_line({"gate": documents["gate.json"]} | documents_of(name)) == expected
    assert in_markdown(documents).startswith(f"### {expected}\n")


def documents_of(name: str) -> dict[str, Any]:
    return {file.removesuffix(".json"): one for file, one in SAMPLES[name]().items()}


def test_the_reasons_follow_in_the_first_lines() -> None:
    worse = "worse than the champion (version 3)"
    assert in_markdown(SAMPLES["rejected"]()).splitlines()[:3] == [
        "### ❌ flights: rejected",
        f"- roc_auc (development) is 0.012 to 0.020 {worse}; at most 0.005 worse is allowed.",
        f"- roc_auc on origin=JFK (development) is 0.046 to 0.068 {worse}; at most 0.01 worse is allowed.",  # noqa: E501
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "greater", "status", "numbers", "expected"),
    [
        ("threshold", True, "fail", (0.66, 0.65, 0.67, 0.7),
         "m is 0.650 to 0.670; at least 0.7 is required."),
        ("threshold", False, "inconclusive", (3.4, 3.1, 3.7, 3.5),
         "m is 3.1 to 3.7; at most 3.5 is required OPEN"),
        ("non_inferiority_margin", False, "fail", (3.0, 2.0, 4.0, 1.5),
         "m is 2.0 to 4.0 worse than CHAMPION; at most 1.5 worse is allowed."),
        ("non_inferiority_margin", True, "inconclusive", (-0.01, -0.03, 0.01, -0.02),
         "m is between 0.030 worse and 0.010 better than CHAMPION; at most 0.02 worse ALLOWED"),
        ("min_absolute_change", False, "pass", (-3.0, -4.0, -2.0, -1.0),
         "m is 2.0 to 4.0 better than CHAMPION; more than 1 better is required."),
        ("min_relative_change", True, "fail", (0.01, 0.005, 0.015, 0.02),
         "m is 0.5 % to 1.5 % better than CHAMPION; more than 2 % better is required."),
        ("max_absolute_change", True, "fail", (0.2, 0.18, 0.22, 0.1),
         "m is 0.180 to 0.220 better than CHAMPION; more than 0.1 better is suspicious, LEAK."),
    ],
)  # fmt: skip
def test_each_rule_in_words(
    rule: str, greater: bool, status: str, numbers: tuple[float, ...], expected: str
) -> None:
    estimate, low, high, bound = numbers
    row = {"set": "development", "metric": "m", "greater_is_better": greater, "status": status}
    check = report_samples.check(
        "x", status, estimate, bound, "The gate's own words.",
        set="development", metric="m", rule=rule, low=low, high=high,
    )  # fmt: skip
    document = report_samples.gate("rejected", [row], [check], [], evaluation={})
    found = told({"gate.json": document})
    expected = expected.replace("CHAMPION", "the champion (version 3)")
    expected = expected.replace(" ALLOWED", " is allowed OPEN")
    expected = expected.replace(" OPEN", "; the interval leaves that open.")
    expected = expected.replace("LEAK", "as a leak would be")
    assert words.sentence(found.checks[0], found) == expected


def test_where_a_number_is_missing_the_gates_own_words_stand() -> None:
    row = {"set": "development", "metric": "m", "greater_is_better": True, "status": "fail"}
    check = report_samples.check("x", "fail", "NaN", 0.7, "m is not a finite number.",
                                 set="development", metric="m", rule="threshold")  # fmt: skip
    document = report_samples.gate("rejected", [row], [check], [], evaluation={})
    assert "NaN (no interval); at least 0.7" in words.reasons(told({"gate.json": document}))[0]
    check["low"] = check["observed"] = None
    document = report_samples.gate("rejected", [row], [check], [], evaluation={})
    assert words.reasons(told({"gate.json": document})) == ["m is not a finite number."]


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        ([], "The run left no result"),
        (["validate"], "The run ended after validate"),
        (["validate", "train", "score"], "The run ended after score"),
    ],
)
def test_a_run_that_ends_early_is_never_good(
    tmp_path: Path, present: list[str], reason: str
) -> None:
    documents = SAMPLES["blessed"]()
    report_samples.write(tmp_path, {f"{name}.json": documents[f"{name}.json"] for name in present})
    made = report.write(tmp_path, tmp_path / "out", name="flights")
    text = made.markdown.read_text()
    assert text.startswith("### ⚠️ flights: inconclusive\n")
    assert reason in text
    assert "<h1>flights: inconclusive</h1>" in made.html.read_text()


def test_a_verdict_of_another_word_has_no_good_sign() -> None:
    documents = SAMPLES["blessed"]()
    documents["gate.json"]["predicate"]["verdict"] = "splendid"
    assert in_markdown(documents).startswith("### ❌ flights: splendid\n")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"_type": "x"}', b"[" * 99_999, b'{"a": ' + b"9" * 9_999 + b"}"],
)
def test_documents_that_cannot_be_read_are_named(tmp_path: Path, content: bytes) -> None:
    report_samples.write(tmp_path, SAMPLES["blessed"]())
    (tmp_path / "gate.json").write_bytes(content)
    text = report.write(tmp_path, tmp_path / "out", name="flights").markdown.read_text()
    assert text.startswith("### ⚠️ flights: inconclusive\n- gate.json cannot be read: ")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    report_samples.write(tmp_path / "other", SAMPLES["blessed"]())
    (tmp_path / "gate.json").symlink_to(tmp_path / "other" / "gate.json")
    text = report.write(tmp_path, tmp_path / "out", name="flights").markdown.read_text()
    assert "gate.json cannot be read: Not a plain file." in text


def test_sections_show_what_the_stages_found() -> None:
    text = in_markdown(SAMPLES["rejected"]())
    for part in (
        "| 0.726 (0.717 to 0.735) | 0.742 (0.733 to 0.751) | -0.016 (-0.020 to -0.012) | at least",
        "| ❌ | origin=JFK | development | 9,000 |",
        "| \N{HEAVY MINUS SIGN} | carrier=OO | development | 18 |",
        "0 by id, 812 by content",
        "2013-10-31 23:00 UTC",
        "| Duration | 3 min 21 s |",
        f"<code>{report_samples.COMMIT}</code>",
        "| learning_rate | <code>0.1</code> |",
    ):
        assert part in text
    # What failed comes before what is folded away.
    assert text.index("origin=JFK |") < text.index("<details>")


def test_failing_data_checks_come_with_examples(tmp_path: Path) -> None:
    text, page = written(tmp_path, "validation_failed")
    assert "| file | row | id | value | " in text
    assert "| data/train.parquet | 19 | F00002 | 99,999 | " in text
    assert text.index("nulls:wind_speed") < text.index("min_rows")
    assert "<td>F00002</td>" in page


def test_warnings_are_at_the_top() -> None:
    text = in_markdown(SAMPLES["bootstrap"]())
    top = text[: text.index("####")]
    assert "One file is all three evaluation sets" in top
    assert "There is no champion: nothing was compared" in top
    assert "gate.mode is dry_run" in in_markdown(SAMPLES["dry_run"]()).partition("####")[0]


def test_slices_say_why_they_were_not_judged(tmp_path: Path) -> None:
    count = len(report_samples.PLACES + report_samples.CARRIERS)
    for said in written(tmp_path, "bootstrap"):
        assert "No slice was judged." in said
        assert f"{count} comparisons not judged: there is no champion" in said
        assert "1 slice not judged: too few rows" in said
    blessed = in_markdown(SAMPLES["blessed"]())
    assert "No violation is shown in any judged slice." in blessed
    assert "there is no champion" not in blessed


def test_ids_that_occur_in_training_are_a_warning() -> None:
    documents = SAMPLES["blessed"]()
    documents["data.json"]["evaluation"]["development"]["overlap"]["keys"] = 1234
    assert "1,234 rows of development have an id" in in_markdown(documents).partition("####")[0]


def test_sensitive_columns_are_neither_printed_nor_drawn(tmp_path: Path) -> None:
    documents = SAMPLES["validation_failed"]()
    secret = {"carrier": "SECRET-VALUE", "row": 3}
    documents["validate.json"]["predicate"]["checks"][-1]["examples"] = [secret]
    for column in documents["profile.json"]["columns"].values():
        if column.get("categories"):
            column["categories"][0]["value"] = "SECRET-VALUE"
    report_samples.write(tmp_path, documents)
    options = {"name": "flights", "sensitive": ["carrier", "origin", "late"]}
    made = report.write(tmp_path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert "SECRET-VALUE" not in made.markdown.read_text() + made.html.read_text()
    options["sensitive"] = []
    made = report.write(tmp_path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert "SECRET-VALUE" in made.markdown.read_text()
    assert "SECRET-VALUE" in made.html.read_text()


def test_a_fork_tells_what_a_maintainer_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = {"repo": {"full_name": "someone/flights"}, "sha": "1234567890abcdef"}
    request = {"number": 12, "head": head}
    event = github.Event(
        name="pull_request", payload={"pull_request": request}, repository="airline/flights",
        ref="refs/pull/12/merge", commit="c" * 40, actor="someone", run_id="7",
        server="https://github.com",
    )  # fmt: skip
    monkeypatch.setattr(github, "event", lambda: event)
    text, page = written(tmp_path, "fork")
    commands = (
        "gh pr checkout 12\ngit push origin HEAD:refs/heads/check/pr-12\n"
        "gh pr create --fill --head check/pr-12\n"
    )
    assert f"```sh\n{commands}```" in text
    assert f"<pre>{commands}</pre>" in page
    assert "the pull request comes from a fork" in text
    address = "https://github.com/airline/flights/actions/runs/7"
    assert f"[{address}]({address})" in text
    assert f'href="{address}"' in page
    # Which commit was judged stands on top: an older report is seen to be one.
    assert "1234567890ab" in text.partition("\n#### ")[0]
    assert text.splitlines()[1].startswith("- ")  # After verdict and reasons.
    assert "1234567890ab" in page.split("</header>", maxsplit=1)[0]


def test_an_override_is_never_silent() -> None:
    documents = SAMPLES["rejected"]()
    predicate = documents["gate.json"]["predicate"]
    said = "Overruled by octo, up to version 5: a known flaw. The gate's own verdict was rejected."
    predicate["verdict"] = "blessed"
    predicate["override"] = {"who": "octo", "verdict": "rejected"}
    predicate["checks"].append(report_samples.check("override", "skipped", "octo", None, said))
    lines = in_markdown(documents).splitlines()
    assert lines[:2] == ["### ⚠️ flights: blessed (overruled)", f"- {said}"]
    assert "0.012 to 0.020 worse" in lines[2]


def test_what_the_rest_of_the_gate_says(tmp_path: Path) -> None:
    text, page = written(tmp_path, "curves")
    for part in (
        "roc_auc, against the anchor",
        "demographic_parity_ratio",
        "origin=LGA",
        "from 0.021",
        "What the policy in force would not notice: probabilities squeezed to one half.",
    ):
        assert part in text
        assert part in page
    assert "Expected calibration error" in page
    sentences = words.reasons(told(SAMPLES["curves"]()))
    assert "than the best earlier model (the anchor); at most 0.005 worse is" in " ".join(sentences)


def test_a_slice_is_told_with_the_bounds_of_its_table() -> None:
    documents = SAMPLES["rejected"]()
    row = documents["gate.json"]["predicate"]["slices"][0]
    assert row["slice"] == "origin=JFK"
    row["difference"] |= {"low": -0.09, "high": -0.03}
    found = told(documents)
    assert words.reasons(found)[1].startswith("roc_auc on origin=JFK (development) is 0.03 to 0.09")


# --- Hostile names -------------------------------------------------------------------------------


def outside_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_keep_their_columns_and_folds_their_ends(name: str) -> None:
    text = in_markdown(SAMPLES[name]())
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    assert text.count("<details>") == text.count("</details>")
    width = None
    for line in outside_fences(text).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        width = width or line.count("|")
        assert line.count("|") == width, line


def test_hostile_names_are_inert_in_markdown() -> None:
    text = in_markdown(SAMPLES["hostile"]())
    whole = outside_fences(text)
    plain = re.sub(r"<code>.*?</code>", "", whole)  # GitHub links nothing in there.
    assert "<img" not in whole
    tags = set(re.findall(r"<(\w+)", plain))
    assert tags <= {"details", "summary", "sub", "span"}
    assert "@octocat" not in plain
    for active in ("](https://evil", "https://evil", "`", ":tada:", "~~", "\n# "):
        assert active not in plain, active
    assert not re.search(r"(?<!&)#\d|(?<!>)\$", plain)
    assert "evil.example" in plain  # It is shown all the same.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a&#124;b"),
        ("<b>&", "&#60;b&#62;&#38;"),
        ("roc_auc", "roc_auc"),
        ("_x_ y_", "&#95;x&#95; y&#95;"),
        ("# x", "&#35; x"),
        ("1. x", "1&#8203;. x"),
        ("- x", "&#45; x"),
        ("-0.02", "-0.02"),
        ("12:30:59", "12:30:59"),
        ("@a/b", "@&#8203;a/b"),
        ("o/r#3", "o/r#&#8203;3"),
        ("www.x.org", "www&#8203;.x.org"),
        ("a`b", "a&#96;b"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert markdown.escape(text) == expected


def test_charts_hold_plain_labels_only() -> None:
    blocks = re.findall(r"```mermaid\n(.*?)```", in_markdown(SAMPLES["hostile"]()), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        for line in block.splitlines()[2:]:
            assert re.fullmatch(
                r'  (title "[^"<>`#;]*"|x-axis \["[^"<>`#;]*"(, "[^"<>`#;]*")*\]'
                r"|y-axis \S+ --> \S+|(bar|line) \[[-\d., e]+\])",
                line,
            ), line


class Elements(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["hostile", "curves", "fork"])
def test_html_loads_and_runs_nothing(tmp_path: Path, name: str) -> None:
    _, page = written(tmp_path, name)
    elements = Elements()
    elements.feed(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "img", "image", "link", "iframe", "object", "embed", "form", "a"}
    for _, attributes in elements.found:
        for key, value in attributes.items():
            assert not key.startswith("on")
            assert key not in {"src", "srcset"}
            if key in {"href", "xlink:href"}:
                assert (value or "").startswith("#")
    assert not re.search(r"url\((?!#)", page)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    metas = [attributes.get("content") for tag, attributes in elements.found if tag == "meta"]
    assert policy in metas


def test_html_can_be_read_without_seeing(tmp_path: Path) -> None:
    _, page = written(tmp_path, "curves")
    elements = Elements()
    elements.feed(page)
    assert sum(tag == "h1" for tag, _ in elements.found) == 1
    tables = page.count("<table")
    assert page.count("<caption>") == tables > 5
    figures = [attributes for tag, attributes in elements.found if tag == "figure"]
    assert len(figures) == page.count("<svg") == 7
    assert all(one.get("role") == "img" and one.get("aria-label") for one in figures)
    # Names of one plot never point into another.
    names = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(names) == len(set(names))


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "one", "rejected") == written(tmp_path / "two", "rejected")


def test_plots_only_of_what_is_there(tmp_path: Path) -> None:
    assert "<svg" not in written(tmp_path / "fork", "fork")[1]
    page = written(tmp_path / "blessed", "blessed")[1]
    assert "outline; Δ is the distance" in page
    assert "Reliability" not in page
    page = written(tmp_path / "curves", "curves")[1]
    assert "Reliability on development" in page
    assert "Residuals by prediction on development" in page
    assert "Distribution of residuals on development" in page


def test_markdown_and_verdict_need_no_matplotlib() -> None:
    script = (
        "import sys; from mlops_actions import report; from mlops_actions.report import markdown;"
        "report.verdict_line({}); sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- Documents of any shape ----------------------------------------------------------------------

_STRANGE: list[Any] = [
    None, [], {}, "x", "\ud800\u202e\n\n# x", -1, 1e308, "NaN", "-Infinity", True, [[1]], {"a": {}},
    10**400,
]  # fmt: skip


def _places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [where, *(place for key, item in inner for place in _places(item, (*where, key)))]


def _replace(document: Any, where: tuple[Any, ...], value: Any) -> None:
    for key in where[:-1]:
        document = document[key]
    document[where[-1]] = value


def test_no_shape_of_a_document_stops_the_report() -> None:
    chance = random.Random(7)  # noqa: S311 - a test's.
    sample = json.dumps(SAMPLES["curves"]())
    places = [place for place in _places(json.loads(sample)) if place]
    for turn in range(250):
        documents = json.loads(sample)
        for place in chance.sample(places, 4):
            try:
                _replace(documents, place, chance.choice(_STRANGE))
            except (TypeError, KeyError, IndexError):
                continue  # An earlier replacement took the place away.
        found = gather(
            {
                name.removesuffix(".json").replace("baseline/", "baseline_"): document
                for name, document in documents.items()
                if isinstance(document, dict)
            }
        )
        markdown.render(found, **CONTEXT).encode()
        if turn % 25 == 0:
            charts.draw(found)


# --- The comment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rejected", "hostile"])
def test_a_comment_is_cut_between_sections(name: str) -> None:
    text = in_markdown(SAMPLES[name]())
    head = text.partition("####")[0]
    link = "https://github.com/airline/flights/actions/runs/7"
    for limit in range(len(head) + 300, len(text), 211):
        cut = report.comment(text, limit=limit, link=link)
        assert len(cut) <= limit
        assert cut.startswith(head)
        assert "Left out for length: " in cut
        assert f"({link})" in cut
        assert len(re.findall(r"^```", cut, re.MULTILINE)) % 2 == 0
        assert cut.count("<details>") == cut.count("</details>")
        # What is there is there line by line, in order.
        kept = cut[: cut.rindex("\nLeft out")].splitlines()
        lines = iter(text.splitlines())
        assert all(line in lines for line in kept)


def test_a_report_that_fits_is_whole() -> None:
    text = in_markdown(SAMPLES["rejected"]())
    assert report.comment(text) == text
    assert report.comment(text, link="https://x.example/1") == (
        f"{text}\n[Full report](https://x.example/1)\n"
    )


@pytest.mark.parametrize("limit", [100, 300, 500])
def test_even_long_reasons_fit(limit: int) -> None:
    text = in_markdown(SAMPLES["hostile"]())
    cut = report.comment(text, limit=limit, link="https://x.example/1")
    assert len(cut) <= limit
    assert cut.startswith("### ❌ flights: rejected")
    assert "https://x.example/1" in cut


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://x.example/) [a](b", "", None])
def test_a_link_that_is_none_is_left_out(link: str | None) -> None:
    text = in_markdown(SAMPLES["blessed"]())
    assert report.comment(text, link=link) == text


def test_a_report_of_thousands_of_slices_stays_a_comment() -> None:
    documents = SAMPLES["rejected"]()
    parts = documents["gate.json"]["predicate"]["slices"]
    parts += [parts[0] | {"slice": f"carrier={number}"} for number in range(3000)]
    text = in_markdown(documents)
    assert len(text) < 65_000
    assert "more in the full report" in text


def test_a_fence_is_never_cut() -> None:
    fence = "```mermaid\n#### no heading\n" + "x\n" * 100 + "```\n"
    text = f"### verdict\n- why\n\n#### One\n\n{fence}\n#### Two\n\nend\n"
    cut = report.comment(text, limit=150)
    assert "no heading" not in cut
    assert "#### Two" in cut
    assert "Left out for length: One." in cut


# --- Tables of what was judged besides metrics --------------------------------------------------


def _besides() -> dict:
    hostile = "<img src=x>|@team"
    return {
        "verdict": "rejected",
        "checks": [
            {"name": "identity: models", "status": "pass", "observed": "a" * 64, "required": "not"},
            {
                "name": f"behaviour: invariance: {hostile}",
                "status": "fail",
                "observed": 0.5,
                "required": 0.0,
                "message": f"{hostile}: 1 of 2 answers break it.",
                "examples": [{"origin": hostile, "secret": "x", "answer": 0.7}],
            },
            {"name": "latency: p95 of one row", "status": "pass", "observed": 3.5, "required": 9},
        ],
        "policy_changes": {
            "changes": [{"where": "gate", "effect": "looser", "text": f"gate: {hostile}"}],
            "approval": {"who": "grace"},
        },
        "latency": {
            "times": [{"what": "row", "quantile": "p95", "candidate": 3.5, "champion": "NaN"}],
            "once": {"candidate": {"load": 1.0, "memory": 5, "size": 7}, "champion": None},
        },
        "explanation": {
            "metric": "roc_auc",
            "columns": [{"column": hostile, "candidate": {"estimate": 0.1, "low": 0, "high": 1}}],
            "moved": [{"column": "hour", "change": 0.02}, {"column": 3, "change": "x"}, "y"],
        },
    }


def test_what_was_judged_besides_metrics_is_shown_and_inert():
    found = gather({"gate": _besides()}, sensitive=["secret"])
    titles = [table.title for table in found.tables]
    assert titles == [
        "Policy changes", "Identity and wear", "Behaviour", "Latency", "Explanation",
    ]  # fmt: skip
    text = markdown.render(found, **CONTEXT)
    page = render_page(found, **CONTEXT)
    for title in titles:
        assert f"#### {title}" in text
        assert f">{title}</h2>" in page
    for shown in (text, page):
        assert "<img" not in shown
        assert "secret" not in shown
        assert "approved by grace" in shown
        assert "hour (+0.02)" in shown
        assert "3.5 ms" in shown
        assert "7 B" in shown
    assert "@team" not in text
    table = text.partition("#### Behaviour")[2].partition("####")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1, lines


def test_every_section_has_something_to_say(tmp_path: Path) -> None:
    text, page = written(tmp_path, "everything")
    for shown in (text, page):
        for said in (
            "214 MB", "1.46 (1.31 to 1.62)", "0 of 500 answers break it", "below 0.690",
            "carrier=UA, answer before=0.21, answer=0.29<br>", "0.7 -", "hour (+0.012)",
        ):  # fmt: skip
            assert said in shown, said
    assert "skipped" not in page.partition(">Latency</h2>")[2].partition("</section>")[0]
    assert "Drawn in the HTML report: Reliability on development; Residuals by" in text


def test_the_first_reasons_are_one_of_each_kind() -> None:
    found = told(SAMPLES["everything"]())
    first = words.reasons(found)
    starts = (
        "roc_auc (",
        "roc_auc on origin=JFK",
        "This pull request",
        "Behaviour, ",
        "roc_auc on",
    )
    assert all(said.startswith(start) for said, start in zip(first, starts, strict=True)), first


@pytest.mark.parametrize("value", [None, 3, "x", [], [1, "x", None], {"columns": 3, "times": "x"}])
def test_a_section_that_is_not_ours_is_no_table(value):
    keys = ("policy_changes", "latency", "explanation")
    found = gather({"gate": {"verdict": "blessed", **dict.fromkeys(keys, value)}})
    assert found.tables == ()
