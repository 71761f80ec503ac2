"""Runs of a model `flights`, as the documents their stages write.

``SAMPLES[name]`` gives the documents by file name; ``write`` puts them into a folder.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Documents = dict[str, Document]

COMMIT = "3f1c0de5a7b94c2f8e6d5a4b3c2d1e0f9a8b7c6d"
PREDICATES = "https://github.com/mlops-actions/mlops-actions/evidence"
#: What a hostile column, model or branch is called.
HOSTILE = (
    "|<img src=x onerror=alert(1)>`*_[a](https://evil.example)@octocat #12 :tada: ```\n# x $y$ ~~"
)
PLACES = ("JFK", "LGA", "EWR")
CARRIERS = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX")


def digest(seed: str) -> str:
    return (seed.encode().hex() * 64)[:64]


def check(name: str, status: str = "pass", observed: Any = None, required: Any = None,
          message: str | None = None, **more: Any) -> Document:  # fmt: skip
    made = {"name": name, "status": status, "observed": observed, "required": required}
    return made | ({"message": message} if message else {}) | more


def statement(stage: str, verdict: str, checks: list[Document], **more: Any) -> Document:
    order = ["validate", "train", "score", "gate"]
    before = order[: order.index(stage)]
    subject = more.pop("subject", [])
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": f"{PREDICATES}/{stage}/v1",
        "predicate": {
            "stage": stage,
            "verdict": verdict,
            "checks": checks,
            "inputs": [{"name": "data.json", "digest": {"sha256": digest("data")}}],
            "previous": [
                {"name": f"{name}.json", "digest": {"sha256": digest(name)}} for name in before
            ],
            "tool": {"version": "0.1.0", "commit": "0" * 40},
            "source": {
                "repository": "airline/flights",
                "commit": COMMIT,
                "ref": "refs/pull/12/merge",
                "run": "https://github.com/airline/flights/actions/runs/7",
            },
            "created": "2026-11-21T12:00:00+00:00",
            **more,
        },
    }


def validate() -> Document:
    where = {"file": "data/train.parquet", "set": "training", "sets": ["training"]}
    checks = [
        check("min_rows", "pass", 241_318, 1000, **where),
        check("unique_id", "pass", 0, "each id once", **where),
        check("unseen_categories:carrier", "pass", 18, "known to the baseline's training data",
              "The column carrier has 18 rows with a category that the baseline's training data "
              "never had.", **where),
        *(check(f"column:{name}", "pass", "present", "Float64", **where)
          for name in ("distance", "hour", "carrier", "origin", "wind_speed")),
        check("freshness:time_hour", "pass", "2013-12-31T23:00:00", "400d", **where),
    ]  # fmt: skip
    distances = {
        "wind_speed": {
            "distance": 0.041,
            "ordinary": {"median": 0.06, "maximum": 0.112, "windows": 12},
        },
        "hour": {
            "distance": 0.006,
            "ordinary": {"median": 0.01, "maximum": 0.019, "windows": 12},
        },
        "carrier": {
            "distance": 0.093,
            "ordinary": {"median": 0.03, "maximum": 0.061, "windows": 12},
        },
    }
    return statement("validate", "passed", checks, distances=distances)


def data() -> Document:
    def part(path: str, rows: int, first: str, last: str, **more: Any) -> Document:
        files = [{"path": path, "sha256": digest(path), "bytes": rows * 40}]
        return {"path": path, "files": files, "rows": rows, "first": first, "last": last,
                "digest": digest(path), **more}  # fmt: skip

    training = part("data/train.parquet", 241_318, "", "")
    return {
        "schema": 1,
        "training": {
            "path": "data/train.parquet",
            "files": training["files"],
            "rows": 241_318,
            "cutoff": "2013-09-30T23:00:00+00:00",
            "digest": training["digest"],
        },
        "evaluation": {
            "development": part(
                "data/development.parquet", 28_834, "2013-10-01T05:00:00+00:00",
                "2013-10-31T23:00:00+00:00", overlap={"keys": 0, "content": 812},
            ),
            "regression": part(
                "data/regression.parquet", 9_120, "2013-11-08T05:00:00+00:00",
                "2013-11-17T23:00:00+00:00", overlap={"keys": 0, "content": 31},
            ),
        },
        "shared_evaluation": False,
    }  # fmt: skip


def profile(shift: float = 0.0) -> Document:
    def bell(centre: float, width: float, low: float, high: float) -> Document:
        step = (high - low) / 20
        edges = [low + step * place for place in range(21)]
        counts = [round(40_000 * math.exp(-(((edge - centre) / width) ** 2))) for edge in edges]
        return {
            "kind": "number", "type": "Float64", "rows": 241_318, "nulls": 120, "nan": 0,
            "quantiles": [], "histogram": {"edges": edges, "counts": counts, "above": 900},
        }  # fmt: skip

    def category(counts: Mapping[str, int]) -> Document:
        listed = [{"value": value, "count": count} for value, count in counts.items()]
        return {"kind": "category", "type": "String", "rows": 241_318, "nulls": 0,
                "categories": listed}  # fmt: skip

    carriers = {name: 60_000 // (place + 1) for place, name in enumerate(CARRIERS)}
    carriers["UA"] += round(30_000 * shift)
    return {
        "schema": 1,
        "rows": 241_318,
        "columns": {
            "id": {"kind": "hidden", "type": "String", "rows": 241_318, "nulls": 0},
            "hour": bell(13 + shift, 5, 5, 23),
            "distance": bell(900, 500, 80, 2500),
            "wind_speed": bell(10 + 2 * shift, 4, 0, 30),
            "carrier": category(carriers | ({"OO": 18} if not shift else {})),
            "origin": category({"EWR": 86_000, "JFK": 80_000, "LGA": 75_318}),
            "late": category({"false": 190_000, "true": 51_318}),
        },
    }


def train(verdict: str = "passed", checks: list[Document] | None = None) -> Document:
    return statement(
        "train",
        verdict,
        checks or [check("training", "pass", 41.7), check("data_untouched")],
        subject=[
            {"name": "run", "digest": {"sha256": digest("run")}},
            {"name": "model", "digest": {"sha256": digest("model")}},
        ],
        mode="full",
        command="dvc repro",
        pipeline_digest=digest("pipeline"),
        environment={"lock": digest("lock"), "python": "3.12.4"},
        seconds=201.4,
        run_id="5f2b9a7c1e8d4f60a3b2c1d0e9f8a7b6",
        params={"learning_rate": "0.1", "max_iter": "200", "max_leaf_nodes": "31", "seed": "0"},
        data_version={"data/train.parquet": "9b1c2d3e4f5a69788796a5b4c3d2e1f0"},
        training_data=digest("data/train.parquet"),
    )


def score() -> Document:
    return statement(
        "score",
        "passed",
        [
            check("score:development:candidate", "pass", 28_834),
            check("score:development:champion", "pass", 28_834, reused=True, version="3"),
        ],
    )


def interval(estimate: float, half: float) -> Document:
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half}


def metric(name: str, greater: bool, champion: float, half: float, change: float, spread: float,
           status: str, requirement: str, where: str = "development") -> Document:  # fmt: skip
    return {
        "set": where, "metric": name, "greater_is_better": greater,
        "candidate": interval(champion + change, half), "champion": interval(champion, half),
        "difference": interval(change, spread), "requirement": requirement, "status": status,
        "method": "DeLong, grouped by 31 days" if name == "roc_auc" else "paired, 31 groups",
    }  # fmt: skip


def rule(row: Document, word: str, status: str, required: float) -> Document:
    value = row["candidate"] if word == "threshold" else row["difference"]
    where = f", {row['slice']}" if row.get("slice") else ""
    more = {"slice": row["slice"], "guardrail": True} if row.get("slice") else {}
    return check(
        f"{row['set']}: {row['metric']} {word}{where}", status, value["estimate"], required, None,
        set=row["set"], metric=row["metric"], rule=word, low=value["low"], high=value["high"],
        **more,
    )  # fmt: skip


def slices(change: float, bad: tuple[str, ...] = ()) -> tuple[list[Document], list[Document]]:
    rows, checks = [], []
    names = [f"origin={place}" for place in PLACES] + [f"carrier={name}" for name in CARRIERS]
    for place, name in enumerate(names):
        moved = change + 0.004 * math.sin(place * 2.1) - (0.041 if name in bad else 0)
        row = metric("roc_auc", True, 0.72 + 0.01 * math.cos(place), 0.02, moved, 0.011,
                     "fail" if name in bad else "pass", "not worse by more than 0.01")  # fmt: skip
        row |= {
            "slice": name,
            "detectable_loss": 0.0213,
            "rows": 9_000 // (1 + place // 3),
            "groups": 31,
            "required": False,
        }
        rows.append(row)
        checks.append(rule(row, "non_inferiority_margin", row["status"], -0.01))
    small: Document = {
        "set": "development", "slice": "carrier=OO", "rows": 18, "groups": 9, "metric": None,
        "candidate": None, "champion": None, "difference": None, "status": "skipped",
        "required": False,
    }  # fmt: skip
    return [*rows, small], checks


def gate(verdict: str, rows: list[Document], checks: list[Document], parts: list[Document],
         **more: Any) -> Document:  # fmt: skip
    keys = {
        "model": "flights",
        "task": "classification",
        "baseline": {"alias": "champion", "version": "3", "run_id": "0" * 32},
        "bootstrap": False,
        "gated": True,
        "evaluation": {
            "development": {
                "digest": digest("data/development.parquet"),
                "rows": 28_834,
                "groups": 31,
            },
            "regression": {"digest": digest("data/regression.parquet"), "rows": 9_120, "groups": 9},
        },
        "shared_evaluation": False,
        "metrics": rows,
        "slices": parts,
        "policy": {"confidence": 0.95, "mode": "enabled", "seed": 0, "resamples": 10_000,
                   "digest": digest("policy")},
        "warnings": [],
    }  # fmt: skip
    return statement("gate", verdict, checks, **(keys | more))


def judged(verdict: str, change: float, *, bad: tuple[str, ...] = (), spread: float = 0.004,
           **more: Any) -> Documents:  # fmt: skip
    low, high = change - spread, change + spread
    status = "pass" if low >= -0.005 else ("fail" if high < -0.005 else "inconclusive")
    rows = [
        metric("roc_auc", True, 0.7421, 0.0093, change, spread, status,
               "at least 0.7; not worse by more than 0.005"),
        metric("log_loss", False, 0.4412, 0.0121, -change / 2, 0.0018, "pass",
               "not worse by more than 0.02"),
        metric("roc_auc", True, 0.7312, 0.0123, change / 3, 0.006, "pass",
               "not worse by more than 0.01", where="regression"),
    ]  # fmt: skip
    parts, of_slices = slices(change, bad)
    checks = [
        check("development: rows", "pass", 28_834, 100, set="development"),
        rule(rows[0], "threshold", "pass", 0.7),
        rule(rows[0], "non_inferiority_margin", status, -0.005),
        rule(rows[1], "non_inferiority_margin", "pass", 0.02),
        rule(rows[2], "non_inferiority_margin", "pass", -0.01),
        *of_slices,
    ]
    return {
        "validate.json": validate(),
        "data.json": data(),
        "profile.json": profile(),
        "baseline/profile.json": profile(1.0),
        "train.json": train(),
        "score.json": score(),
        "gate.json": gate(verdict, rows, checks, parts, **more),
    }


def blessed() -> Documents:
    return judged("blessed", 0.006)


def rejected() -> Documents:
    return judged("rejected", -0.016, bad=("origin=JFK", "carrier=B6"))


def inconclusive() -> Documents:
    return judged("inconclusive", -0.002, spread=0.009)


def unchanged() -> Documents:
    message = "Version 3 (champion) was made from this very pipeline."
    documents = judged("unchanged", 0.0)
    same = check("pipeline", "pass", digest("pipeline"), digest("pipeline"), message)
    documents["train.json"] = train("unchanged", [])
    documents["gate.json"] = gate("unchanged", [], [same], [], evaluation={}, policy={})
    del documents["score.json"]
    return documents


def bootstrap() -> Documents:
    message = (
        "There is no champion: nothing was compared, and gate.bootstrap allows it. Only thresholds "
        "were judged."
    )
    row = metric("roc_auc", True, 0.7421, 0.0093, 0, 0, "pass", "at least 0.7")
    row |= {"champion": None, "difference": None}
    checks = [
        check("champion", "skipped", None, "a champion", message),
        rule(row, "threshold", "pass", 0.7),
    ]
    parts = [
        part | {"champion": None, "difference": None, "status": "skipped", "detectable_loss": None}
        for part in slices(0.0)[0]
    ]
    documents = judged("blessed", 0.0)
    del documents["baseline/profile.json"]
    documents["validate.json"]["predicate"]["distances"] = {}
    documents["data.json"]["shared_evaluation"] = True
    documents["gate.json"] = gate("blessed", [row], checks, parts, baseline=None, bootstrap=True,
                                  shared_evaluation=True, warnings=[message])  # fmt: skip
    return documents


def validation_failed() -> Documents:
    document = validate()
    where = {"file": "data/train.parquet", "set": "training", "sets": ["training"]}
    document["predicate"]["verdict"] = "failed"
    document["predicate"]["checks"] += [
        check("check:distance:in_range", "fail", 3, "80 to 5000",
              "The column distance has 3 rows outside 80 to 5000.", rows=3,
              examples=[{"file": "data/train.parquet", "row": 17 + place, "id": f"F{place:05}",
                         "value": value} for place, value in enumerate((-1.0, 17.0, 99999.0))],
              **where),
        check("nulls:wind_speed", "fail", 4_120, "no nulls",
              "The column wind_speed has 4120 nulls.", rows=4_120,
              examples=[{"file": "data/train.parquet", "row": 4, "id": "F00004", "value": None}],
              **where),
    ]  # fmt: skip
    stop = check("data", "fail", None, None, "The data did not pass validation: "
                 "check:distance:in_range, nulls:wind_speed.")  # fmt: skip
    return {
        "validate.json": document,
        "data.json": data(),
        "profile.json": profile(),
        "gate.json": gate("rejected", [], [stop], [], evaluation={}, policy={}, baseline=None),
    }


def train_failed() -> Documents:
    message = "The command 'dvc repro' ended with exit code 1; its output is in the log."
    stop = check("training", "inconclusive", None, None, message)
    return {
        "validate.json": validate(),
        "data.json": data(),
        "profile.json": profile(),
        "train.json": train("failed", [check("training", "fail", message=message)]),
        "gate.json": gate("inconclusive", [], [stop], [], evaluation={}, policy={}, baseline=None),
    }


def fork() -> Documents:
    message = "The job model handed nothing over (its result: failure)."
    stop = check("handover", "inconclusive", None, None, message)
    made = gate("inconclusive", [], [stop], [], evaluation={}, policy={}, baseline=None)
    return {"gate.json": made}


def dry_run() -> Documents:
    documents = judged("rejected", -0.016)
    predicate = documents["gate.json"]["predicate"]
    predicate["policy"]["mode"] = "dry_run"
    predicate["gated"] = False
    predicate["warnings"] = ["This verdict decided nothing: gate.mode is dry_run."]
    return documents


def hostile() -> Documents:
    """Every name that user code or data chooses is an attack."""
    text = json.dumps(rejected())
    inside = json.dumps(HOSTILE)[1:-1]
    for name in ("origin=JFK", "wind_speed", "dvc repro", "learning_rate", "refs/pull/12/merge",
                 "data/train.parquet", "F00001", "check:distance:in_range", "roc_auc"):  # fmt: skip
        text = text.replace(name, inside)
    documents: Documents = json.loads(text)
    documents["validate.json"] = json.loads(
        json.dumps(validation_failed()["validate.json"]).replace("wind_speed", inside)
    )
    documents["validate.json"]["predicate"]["checks"][-1]["examples"] = [
        {"value": HOSTILE, HOSTILE: HOSTILE}
    ]
    return documents


def curves() -> Documents:
    """Everything else that the gate writes: fairness, self-test, calibration, an anchor."""
    documents = blessed()
    row = metric(
        "roc_auc", True, 0.75, 0.009, -0.001, 0.003, "pass", "not worse by more than 0.005"
    )
    documents["gate.json"]["predicate"]["metrics"].append(row | {"against": "anchor"})
    documents["gate.json"]["predicate"]["checks"].append(
        rule(row, "non_inferiority_margin", "pass", -0.005) | {"rule": "anchor"}
    )
    documents["gate.json"]["predicate"] |= {
        "fairness": [
            {
                "set": "development",
                "columns": "origin",
                "rule": "demographic_parity_ratio",
                "kind": "ratio",
                "candidate": interval(0.88, 0.04),
                "champion": interval(0.9, 0.04),
                "groups": [
                    {"name": f"origin={name}", "rows": 9000, "selection_rate": 0.2 + share}
                    for name, share in zip(PLACES, (0, 0.01, 0.03), strict=True)
                ],
                "small": [],
                "requirement": "at least 0.8",
                "detectable_loss": 0.31,
                "status": "pass",
            },
        ],
        "self_test": [
            {"name": "permuted labels", "kind": "nonsense", "noticed": True},
            {"name": "a constant", "kind": "nonsense", "noticed": True},
            {"name": "probabilities squeezed to one half", "kind": "damage", "noticed": False},
        ],
    }
    shares = [place / 10 for place in range(11)]
    documents["gate.json"]["predicate"] |= {
        "calibration": [
            {"set": "development", "model": model, "expected_calibration_error": 0.021, "bins": [
                {"predicted": x, "observed": x ** power, "low": max(0, x ** power - 0.04),
                 "high": min(1, x ** power + 0.04)} for x in shares]}
            for model, power in (("champion", 1.3), ("candidate", 1.1))
        ],
        "residuals": [
            {"set": "development", "model": model,
             "bins": [{"rows": 1442, "predicted": 10 * x, "median": bias * x,
                       "low": bias * x - 8 - x, "high": bias * x + 9 + 3 * x} for x in shares],
             "histogram": {"edges": [place - 10 for place in range(21)],
                           "shares": [math.exp(-(((place - 10 - bias) / 4) ** 2)) / 7
                                      for place in range(20)]}}
            for model, bias in (("champion", 2.5), ("candidate", 1.0))
        ],
    }  # fmt: skip
    return documents


def everything() -> Documents:
    """A rejected pull request with every section: each kind of rule has something to say."""
    documents = curves()
    bad = rejected()["gate.json"]["predicate"]
    gate_ = documents["gate.json"]["predicate"]
    kept = [item for item in gate_["checks"] if item.get("rule") == "anchor"]
    gate_["metrics"] = [*bad["metrics"], gate_["metrics"][-1]]
    gate_["slices"] = bad["slices"]
    message = (
        "This pull request changes what the gate asks: gate.metrics.accuracy.threshold: "
        "0.7 -> 0.65 (looser). Someone with write access who is not the author approves it with "
        "the label policy-approved, set after the newest commit."
    )
    rounds = "p95 of one row"
    gate_["verdict"] = "rejected"
    gate_["checks"] = [
        *bad["checks"],
        *kept,
        check("policy: changes", "fail", 1, 0, message),
        check("identity: models", "pass", digest("model"), f"not {digest('other')}"),
        check("identity: set development", "pass", digest("set"), digest("set")),
        check("identity: development and training, by id", "pass", 0, 0),
        check("identity: development and training, by content", "pass", 0.028, 0.33),
        check("release: wear", "pass", 3, 20),
        check("behaviour: invariance: the carrier's code", "fail", 0.014, 0.01,
              "Behaviour, the carrier's code: 14 of 1,000 answers break it; 1.0% may. An answer "
              "may move by 0.05 at most.", rows=1000,
              examples=[{"id": f"F{place}", "carrier": "UA", "answer before": 0.21 + place / 100,
                         "answer": 0.29 + place / 100} for place in range(5)]),
        check("behaviour: directional: later in the day", "pass", 0.0, 0.0, rows=500),
        check("behaviour: minimum functionality: the first flight", "pass", 0.0, 0.0, rows=1),
        check(f"latency: {rounds}, ratio", "inconclusive", 1.46, 1.5,
              f"The {rounds} takes 1.46 times as long as the champion's (interval 1.31 to 1.62); "
              "at most 1.5 is allowed. The interval leaves it open: more rounds may decide.",
              low=1.31, high=1.62),
        check("latency: peak memory, bytes", "pass", 214_000_000, 500_000_000),
        check("explanation: largest share of importance", "pass", 0.41, 0.6, low=0.33, high=0.47,
              column="hour"),
    ]  # fmt: skip
    gate_["reasons"] = [message]
    gate_["warnings"] = [
        "The set regression has 9 groups: its intervals are a little too short.",
        "No rule would notice: overconfident probabilities.",
    ]
    gate_["policy_changes"] = {
        "base": COMMIT,
        "changes": [
            {"where": "gate.metrics.accuracy.threshold", "effect": "looser",
             "text": "gate.metrics.accuracy.threshold: 0.7 -> 0.65 (looser)"},
            {"where": "gate.min_rows", "effect": "stricter",
             "text": "gate.min_rows: 500 -> 1000 (stricter)"},
        ],
        "approval": None,
    }  # fmt: skip
    times = [
        {"what": what, "quantile": quantile, "rounds": 200, "candidate": mine, "champion": other,
         "ratio": interval(mine / other, 0.1)}
        for what, quantile, mine, other in (
            ("row", "p50", 2.31, 1.72), ("row", "p95", 3.51, 2.40), ("row", "p99", 5.02, 4.9),
            ("batch", "p50", 18.3, 16.9), ("batch", "p95", 22.6, 19.5), ("batch", "p99", 31, 24.2),
        )
    ]  # fmt: skip
    once = {"load": 0.41, "memory": 214_000_000, "size": 481_200}
    gate_["latency"] = {
        "unit": "ms",
        "times": times,
        "once": {"candidate": once, "champion": {**once, "load": 0.38}},
    }
    importance = (("hour", 0.061, 0.41), ("wind_speed", 0.032, 0.21), ("carrier", 0.018, 0.12))
    gate_["explanation"] = {
        "metric": "roc_auc",
        "rows": 2000,
        "columns": [
            {"column": name, "candidate": interval(loss, 0.006),
             "champion": interval(loss * 0.8, 0.006), "share": interval(share, 0.06)}
            for name, loss, share in importance
        ],
        "moved": [{"column": "hour", "change": 0.012}, {"column": "wind_speed", "change": 0.006}],
    }  # fmt: skip
    return documents


SAMPLES: dict[str, Callable[[], Documents]] = {
    made.__name__: made
    for made in (
        blessed, rejected, inconclusive, unchanged, bootstrap, validation_failed, train_failed,
        fork, dry_run, hostile, curves, everything,
    )
}  # fmt: skip


def write(folder: Path, documents: Documents) -> Path:
    """Put documents into a folder, as the stages do."""
    for name, document in copy.deepcopy(documents).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder
