"""The workflow's gate against a registered model: identity, wear, anchor, slices, override."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_gate_handover import CONFIG, Workflow, make

from mlops_actions import evidence, github
from mlops_actions.gate import approval, handover, verdicts
from mlops_actions.state import Branch

GATE = """\
gate:
  metrics: {roc_auc: {threshold: 0.6, non_inferiority_margin: 0.08}}
  slices: [{columns: [half]}]
  min_slice_size: 100
"""
EVENT = {"repository": {"default_branch": "main"}}


class Registered(Workflow):
    """A repository with a registered model, on its default branch, which decides by `release`."""

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Move what was made for `development` to `release`, and register version 3."""
        self.baseline: dict[str, Any] = {
            "alias": "champion", "version": "3", "run_id": "r", "model_digest": "m" * 64,
            "cutoff": None,
        }  # fmt: skip
        self.aliases = {"champion": "3", "challenger": "4"}
        self.anchors: dict[str, Any] = {}
        self.patch = monkeypatch
        text = CONFIG.split("gate:", maxsplit=1)[0] + GATE
        (self.repository / "mlops.yaml").write_text(text)
        for folder in ("predictions/development", "evaluation/development.parquet"):
            path = self.candidate / folder
            path.rename(path.with_name(path.name.replace("development", "release")))
        (self.candidate / "run" / "model").mkdir(parents=True)
        (self.candidate / "run" / "model" / "MLmodel").write_text("one")
        keys = self.candidate / "evaluation" / "release.parquet"
        pl.read_parquet(keys).with_columns(half=pl.col("id") % 2).write_parquet(keys)
        self.data = evidence.read_json(self.candidate / "data.json")
        part = self.data["evaluation"].pop("development")
        part["keys"] = {"file": "evaluation/release.parquet", "sha256": evidence.sha256_file(keys)}
        part["overlap"] = {"keys": 0, "content": 0, "ordinary": 0.0}
        self.data["evaluation"]["release"] = self.part = part
        self.own = self.folder / "verdict-work" / "kept"
        self.keep(self.own / "evidence", seed=7)
        self.gate: dict[str, Any] = {"slices": []}
        monkeypatch.setattr(handover, "fetch", self.fetch)
        self.on("refs/heads/main")

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return self.repository.parent

    def on(self, ref: str) -> None:
        """Run on a ref."""
        path = self.folder / "event.json"
        path.write_text(json.dumps(EVENT))
        self.patch.setenv("GITHUB_EVENT_PATH", str(path))
        self.patch.setenv("GITHUB_REF", ref)
        github.event.cache_clear()

    def keep(self, folder: Path, *, seed: int, noise: float = 0.7) -> None:
        """Keep a model's predictions of this set, as evidence of its version."""
        keys = pl.read_parquet(self.candidate / "evaluation" / "release.parquet")
        random = np.random.default_rng(seed)
        target = keys["y"].to_numpy()
        chance = np.clip(0.3 * target + random.uniform(0, noise, len(target)), 0, 1)
        frame = pl.DataFrame(
            {
                "id": keys["id"],
                "prediction": (chance > 0.5).astype(np.int64),
                "probability_0": 1 - chance,
                "probability_1": chance,
            }
        )
        path = folder / "predictions" / "release" / "candidate.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
        evidence.write_json(folder / "data.json", self.data)

    def fetch(self, _project: object, output: Path, *_: object, **__: object) -> dict[str, Any]:
        """Stand in for the registry."""
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(self.own, output)
        evidence.write_json(
            output / "evidence" / "gate.json",
            evidence.statement("gate", "blessed", [], subjects=[], **self.gate),
        )
        return {
            "registry": "embedded", "problem": None, "versions": {}, "aliases": self.aliases,
            "baseline": self.baseline, "anchors": self.anchors,
        }  # fmt: skip

    def judge(self) -> dict[str, Any]:
        """Fix the data, run the gate, give its predicate."""
        fixed = evidence.write_json(self.candidate / "data.json", self.data)
        subjects = [
            evidence.subject("data.json", fixed),
            evidence.subject(self.part["keys"]["file"], self.part["keys"]["sha256"]),
        ]
        self.write("validate", evidence.statement("validate", "passed", [], subjects=subjects))
        self.run()
        return self.predicate()

    def by_development(self) -> None:
        """Run on another branch, which the set development decides on."""
        self.on("refs/heads/other")
        for folder in ("predictions/release", "evaluation/release.parquet"):
            path = self.candidate / folder
            path.rename(path.with_name(path.name.replace("release", "development")))
        self.data["evaluation"] = {"development": self.part}
        self.part["keys"]["file"] = "evaluation/development.parquet"

    def branch(self) -> Branch:
        """The branch that remembers."""
        return Branch(repository=self.repository)

    def configure(self, old: str, new: str) -> None:
        """Edit mlops.yaml."""
        path = self.repository / "mlops.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    made = make(tmp_path, monkeypatch)
    made.__class__ = Registered
    assert isinstance(made, Registered)
    made.begin(monkeypatch)
    yield made
    github.event.cache_clear()


def statuses(found: dict[str, Any], start: str) -> dict[str, str]:
    return {
        item["name"]: item["status"] for item in found["checks"] if item["name"].startswith(start)
    }


def test_another_model_on_the_same_rows_is_judged_and_counted(release: Registered) -> None:
    found = release.judge()
    assert found["verdict"] == "blessed", found["reasons"]
    assert set(statuses(found, "identity").values()) == {"pass"}
    assert len(statuses(found, "identity")) == 4
    assert found["policy"]["verdict"] == 1
    assert verdicts.earlier(release.branch(), "tiny", "d" * 64) == 1
    assert verdicts.earlier(release.branch(), "tiny", "e" * 64) == 0
    assert release.judge()["policy"]["verdict"] == 2
    assert found["policy"]["level"] < release.predicate()["policy"]["level"]


def test_elsewhere_the_release_set_is_not_looked_at(release: Registered) -> None:
    release.by_development()
    found = release.judge()
    assert found["verdict"] == "blessed"
    assert set(found["evaluation"]) == {"development"}
    assert verdicts.earlier(release.branch(), "tiny", "d" * 64) == 0


def test_a_rejected_verdict_counts(release: Registered) -> None:
    release.configure("threshold: 0.6", "threshold: 0.99")
    assert release.judge()["verdict"] == "rejected"
    assert verdicts.earlier(release.branch(), "tiny", "d" * 64) == 1
    release.configure("gate:\n", "gate:\n  max_verdicts: 1\n")
    release.configure("threshold: 0.99", "threshold: 0.6")
    found = release.judge()
    assert found["verdict"] == "inconclusive"
    assert "worn out" in found["reasons"][0]


def test_a_record_that_was_changed_is_no_record(release: Registered) -> None:
    for _ in range(2):
        release.judge()

    def tamper(checkout: Any) -> None:
        checkout.bring(["gate/tiny.json"])
        path = checkout.folder / "gate" / "tiny.json"
        document = json.loads(path.read_text())
        del document["verdicts"][0]
        path.write_text(json.dumps(document))

    release.branch().transaction(tamper, "tamper")
    found = release.judge()
    assert found["verdict"] == "inconclusive"
    assert "has a gap" in found["reasons"][0]


def test_a_verdict_that_cannot_be_written_is_none(
    release: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Somebody else's verdict arrives between reading the count and writing it.
    monkeypatch.setattr(verdicts, "earlier", lambda *_: 1)
    found = release.judge()
    assert found["verdict"] == "inconclusive"
    assert "meanwhile" in found["reasons"][0]


def test_a_verdict_that_another_one_overtook_is_judged_again(
    release: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.judge()
    known = iter([0, 1])  # The count is stale once.
    monkeypatch.setattr(verdicts, "earlier", lambda *_: next(known))
    found = release.judge()
    assert found["verdict"] == "blessed"
    assert found["policy"]["verdict"] == 2


def _id_in_training(release: Registered) -> None:
    release.part["overlap"]["keys"] = 1


def _rows_in_training(release: Registered) -> None:
    release.part["overlap"] |= {"content": 400, "ordinary": 0.31}


def _same_files(release: Registered) -> None:
    model = release.candidate / "run" / "model"
    release.baseline["model_digest"] = evidence.sha256_tree(model)


def _sliced(column: str, value: int) -> dict[str, object]:
    return {"set": "release", "slice": f"{column}={value}", "columns": [column],
            "metric": "roc_auc", "cut": False}  # fmt: skip


def _lost_slice(release: Registered) -> None:
    release.gate["slices"] = [_sliced("half", 2)]


@pytest.mark.parametrize("spoil", [_id_in_training, _rows_in_training, _same_files, _lost_slice])
def test_what_cannot_be_fooled(release: Registered, spoil: Callable[[Registered], None]) -> None:
    spoil(release)
    found = release.judge()
    assert found["verdict"] == "rejected", found["checks"]
    assert len(found["reasons"]) == 1, found["reasons"]


def test_honest_repeats_are_no_leak(release: Registered) -> None:
    release.part["overlap"] |= {"content": 320, "ordinary": 0.31}
    assert release.judge()["verdict"] == "blessed"


def test_an_overlap_that_was_not_counted_is_no_pass(release: Registered) -> None:
    del release.part["overlap"]["keys"]
    assert release.judge()["verdict"] == "inconclusive"


def test_slices_that_are_no_longer_asked_for_are_not_missed(release: Registered) -> None:
    release.gate["slices"] = [_sliced("month", 2), _sliced("half", 1)]
    assert release.judge()["verdict"] == "blessed"


def test_predictions_on_another_set_do_not_count(release: Registered) -> None:
    shutil.rmtree(release.own / "evidence" / "predictions")
    said = evidence.check(
        "score:release:champion", "pass", 1000, reused=False, version="3", digest="x" * 64
    )
    release.write("score", evidence.statement("score", "passed", [said], subjects=[]))
    source = release.candidate / "predictions" / "release"
    shutil.copyfile(source / "candidate.parquet", source / "champion.parquet")
    found = release.judge()
    assert statuses(found, "identity: set") == {"identity: set release": "fail"}
    assert found["verdict"] == "rejected"


@pytest.mark.parametrize("left", ["nothing", "predictions of another version"])
def test_a_champion_that_cannot_be_loaded_is_no_bootstrap(release: Registered, left: str) -> None:
    shutil.rmtree(release.own / "evidence" / "predictions")
    more = {"version": "3" if left == "nothing" else "2"}
    said = evidence.check(
        "score:release:champion", "inconclusive", message="No such flavour.", **more
    )
    release.write("score", evidence.statement("score", "passed", [said], subjects=[]))
    source = release.candidate / "predictions" / "release"
    shutil.copyfile(source / "candidate.parquet", source / "champion.parquet")
    found = release.judge()
    assert found["verdict"] == "inconclusive"
    assert ("No such flavour" if left == "nothing" else "Run it again") in found["reasons"][0]


@pytest.mark.parametrize("status", ["fail", "inconclusive"])
def test_a_change_that_turns_the_gate_off_is_not_approved_by_it(
    release: Registered, monkeypatch: pytest.MonkeyPatch, status: evidence.Status
) -> None:
    release.configure("gate:\n", "gate:\n  mode: dry_run\n")
    release.judge()
    assert release.run() == 0
    found = approval.Compared(checks=[evidence.check(approval.NAME, status)], section={})
    monkeypatch.setattr(approval, "compare", lambda *_, **__: found)
    assert release.run() == 1


def test_the_newest_version_again_is_unchanged(release: Registered) -> None:
    """The champion is version 3; the candidate says what version 4 said before it."""
    release.keep(release.own / "challenger", seed=7)
    assert release.judge()["verdict"] == "blessed"
    source = release.candidate / "predictions" / "release" / "candidate.parquet"
    shutil.copy(source, release.own / "challenger" / "predictions" / "release")
    found = release.judge()
    assert found["verdict"] == "unchanged"
    assert found["reasons"] == ["Version 4 (challenger) says of every row what the candidate says."]
    _id_in_training(release)
    assert release.judge()["verdict"] == "rejected"


@pytest.mark.parametrize("status", ["fail", "inconclusive"])
def test_an_unapproved_change_of_policy_is_red_though_the_model_is_unchanged(
    release: Registered, monkeypatch: pytest.MonkeyPatch, status: evidence.Status
) -> None:
    release.keep(release.own / "challenger", seed=7)
    source = release.candidate / "predictions" / "release" / "candidate.parquet"
    shutil.copy(source, release.own / "challenger" / "predictions" / "release")
    release.judge()
    assert release.run() == 0
    found = approval.Compared(checks=[evidence.check(approval.NAME, status)], section={})
    monkeypatch.setattr(approval, "compare", lambda *_, **__: found)
    assert release.run() == 1


# --- Anchor ------------------------------------------------------------------------------------


def test_the_anchor_is_asked_too_and_moves_to_the_better_model_only(release: Registered) -> None:
    first = release.judge()
    difference = first["metrics"][0]["difference"]["estimate"]
    assert first["anchor"] == {"release": None if difference >= 0 else "3"}
    # A far better earlier model: the champion is no worse than the candidate, the anchor is.
    release.anchors = {"release": {"version": "2", "problem": None}}
    release.keep(release.own / "anchors" / "2", seed=8, noise=0.35)
    found = release.judge()
    assert found["verdict"] == "rejected"
    assert any("anchor" in reason for reason in found["reasons"]), found["reasons"]
    assert found["anchor"] == {"release": "2"}


def test_an_anchor_that_is_out_of_reach_is_no_anchor_that_holds(release: Registered) -> None:
    release.anchors = {"release": {"version": "2", "problem": "it is gone"}}
    found = release.judge()
    assert found["verdict"] == "inconclusive"
    assert "it is gone" in found["reasons"][0]


def test_an_anchor_of_another_set_says_nothing(release: Registered) -> None:
    release.anchors = {"release": {"version": "2", "problem": None}}
    digest = release.part["digest"]
    release.part["digest"] = "f" * 64
    release.keep(release.own / "anchors" / "2", seed=8, noise=0.35)
    release.part["digest"] = digest
    assert release.judge()["verdict"] == "blessed"


# --- Override ----------------------------------------------------------------------------------

OVERRIDE = "gate:\n  override: {who: ada, why: The old one must go., until: 5}\n"


def test_an_override_lets_through_and_is_never_silent(release: Registered) -> None:
    release.configure("threshold: 0.6", "threshold: 0.99")
    release.configure("gate:\n", OVERRIDE)
    found = release.judge()
    assert found["verdict"] == "blessed"
    assert found["override"]["who"] == "ada"
    assert found["override"]["verdict"] == "rejected"
    report = release.output.with_name("report.md").read_text()
    assert "Overruled by ada" in report
    release.aliases["challenger"] = "5"  # Version 5 was let through; 6 is judged as ever.
    found = release.judge()
    assert found["verdict"] == "rejected"
    assert any("it ended with version 5" in warning for warning in found["warnings"])


def test_an_override_counts_on_the_default_branch_only(release: Registered) -> None:
    release.configure("threshold: 0.6", "threshold: 0.99")
    release.configure("gate:\n", OVERRIDE)
    release.by_development()
    found = release.judge()
    assert found["verdict"] == "rejected"
    assert found["override"] is None


def test_a_baseline_that_was_let_through_is_named_in_every_later_report(
    release: Registered,
) -> None:
    release.gate["override"] = {"who": "ada", "why": "So.", "until": "3", "verdict": "rejected"}
    release.judge()
    assert "let through against the verdict rejected by ada" in (
        release.output.with_name("report.md").read_text()
    )
