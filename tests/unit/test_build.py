"""What is built, what is refused before it is built, and how what was built is judged."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from mlops_actions import cli, config, evidence
from mlops_actions.build import blessed as versions
from mlops_actions.build import (
    container,
    context,
    golden,
    layout,
    pickles,
    proof,
    requirements,
    summary,
    visitor,
)
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.registry.store import Version

PROJECT = """\
name: m
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""

# A version and its evidence.


def chain(folder: Path, *, verdict: str = "blessed", **gate: object) -> Version:
    """Write the evidence and model of a version below ``folder``; give the version."""
    kept, model = folder / "evidence", folder / "model"
    model.mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}")
    digest = evidence.sha256_tree(model)
    for stage in ("validate", "score"):
        evidence.write_json(
            kept / f"{stage}.json", evidence.statement(stage, "passed", [], subjects=[])
        )
    subjects = [evidence.subject("model", digest)]
    trained = evidence.statement("train", "passed", [], subjects=subjects)
    evidence.write_json(kept / "train.json", trained)
    judged = [kept / f"{stage}.json" for stage in ("validate", "train", "score")]
    evidence.write_json(
        kept / "gate.json",
        evidence.statement("gate", verdict, [], subjects=subjects, previous=judged, **gate),
    )
    evidence.write_json(
        kept / "publish.json",
        evidence.statement(
            "publish", "passed", [], subjects=subjects, previous=[kept / "gate.json"],
            model="m", version="3", run_id="r",
        ),
    )  # fmt: skip
    tags = {
        "mlops.model_digest": digest,
        "mlops.gate_digest": evidence.sha256_file(kept / "gate.json"),
        "mlops.commit": "c" * 40,
    }
    return Version(name="m", version="3", run_id="r", source="", tags=tags)


def verify(folder: Path, version: Version) -> versions.Blessed:
    return versions.verify(version, folder / "evidence", folder / "model")


def test_a_blessed_version_is_named_by_its_digests(tmp_path):
    version = chain(tmp_path)
    found = verify(tmp_path, version)
    assert found.model_digest == version.tags["mlops.model_digest"]
    assert found.evidence_digest == evidence.sha256_file(tmp_path / "evidence/publish.json")
    assert (found.name, found.version, found.commit) == ("m", "3", "c" * 40)
    evidence.write_json(tmp_path / "version.json", found.document())
    assert versions.Blessed.read(tmp_path / "version.json") == found


@pytest.mark.parametrize("verdict", ["rejected", "inconclusive", "unchanged"])
def test_only_blessed_versions(tmp_path, verdict):
    version = chain(tmp_path, verdict=verdict)
    with pytest.raises(Failure, match=f"not blessed: its verdict is {verdict}"):
        verify(tmp_path, version)


def test_a_gate_that_did_not_decide_blesses_nothing(tmp_path):
    version = chain(tmp_path, gated=False)
    with pytest.raises(Failure, match="not blessed"):
        verify(tmp_path, version)


@pytest.mark.parametrize("stage", ["validate", "train", "score", "gate"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_evidence_that_was_changed_is_refused(tmp_path, stage, how):
    version = chain(tmp_path)
    path = tmp_path / "evidence" / f"{stage}.json"
    if how == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"created"', '"created" '))
    with pytest.raises(Failure):
        verify(tmp_path, version)


def test_a_rejected_version_with_a_verdict_written_over_is_refused(tmp_path):
    """With a chain that is consistent in itself: the registry's tag knows the true verdict."""
    version = chain(tmp_path / "true", verdict="rejected")
    chain(tmp_path / "forged")
    with pytest.raises(Failure, match="another verdict"):
        versions.verify(version, tmp_path / "forged/evidence", tmp_path / "true/model")


def test_another_versions_evidence_is_refused(tmp_path):
    version = chain(tmp_path)
    other = Version(**{**version.__dict__, "version": "4"})
    with pytest.raises(Failure, match="not the evidence of m version 4"):
        verify(tmp_path, other)


def test_another_model_is_refused(tmp_path):
    version = chain(tmp_path)
    (tmp_path / "model/more").write_text("x")
    with pytest.raises(Failure, match="not those that were judged"):
        verify(tmp_path, version)


# Requirements.


def wanted(tmp_path: Path, text: str, *flavours: str) -> tuple[list[str], list[str]]:
    (tmp_path / "requirements.txt").write_text(text)
    return requirements.wanted(tmp_path, set(flavours))


def test_mlflow_is_its_client_where_the_flavour_allows_it(tmp_path):
    text = "mlflow==3.17.2\nscikit-learn==1.9.1\nmlflow-extra==1\n"
    lines, replaced = wanted(tmp_path, text, "sklearn", "python_function")
    assert lines == ["mlflow-skinny==3.17.2", "scikit-learn==1.9.1", "mlflow-extra==1"]
    assert replaced == ["mlflow==3.17.2"]
    assert wanted(tmp_path, text, "python_function") == (text.split(), [])


@pytest.mark.parametrize(
    "line",
    [
        "git+https://example.com/x.git",
        "x @ https://example.com/x.whl",
        "-r other.txt",
        "--extra-index-url https://example.com",
        "./x.whl",
        "-e .",
        "a==1 \\",
        "--trusted-host a",
    ],
)
def test_what_has_no_hash_is_refused(tmp_path, line):
    with pytest.raises(Failure, match="cannot be locked"):
        wanted(tmp_path, f"numpy==2\n{line}\n")


def test_comments_and_markers_are_read(tmp_path):
    lines, _ = wanted(tmp_path, "# why\nnumpy==2 # pin\n\nx[a,b]>=1 ; python_version > '3'\n")
    assert lines == ["numpy==2", "x[a,b]>=1 ; python_version > '3'"]


# Pickles.


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def scan(folder: Path, **options: object) -> list[str]:
    pytest.importorskip("picklescan")
    return [f"{one.file} {one.what}" for one in pickles.scan(folder, **options).findings]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["model.pkl", "innocent.txt", "weights.dat"])
def test_an_evil_pickle_is_found_whatever_it_is_called(tmp_path, protocol, name):
    (tmp_path / name).write_bytes(pickle.dumps([1, Evil()], protocol=protocol))
    assert any("system" in line for line in scan(tmp_path))


def test_an_evil_pickle_is_found_in_archives_and_arrays(tmp_path):
    content = pickle.dumps(Evil())
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("inner.npy", content)
    np.save(tmp_path / "array.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "arrays.npz", a=np.array([Evil()], dtype=object))
    found = "\n".join(scan(tmp_path))
    for name in ("model.skops:inner.npy", "array.npy", "arrays.npz:a.npy"):
        assert f"{name} imports" in found


def test_a_second_pickle_behind_the_first_is_refused(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(1) + pickle.dumps(Evil()))
    assert scan(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", b"\x80\x04K\x01"])
def test_a_file_named_like_a_pickle_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    assert scan(tmp_path) == ["model.pkl cannot be read to its end"]


def test_a_declared_pickle_is_looked_into(tmp_path):
    (tmp_path / "model").write_bytes(b"\x00\x01")
    assert scan(tmp_path, declared=["model"]) == ["model cannot be read to its end"]


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04 and so on")
    assert scan(tmp_path) == ["model.zip cannot be read as what it is named"]


def test_what_scikit_learn_writes_is_let_through(tmp_path):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.random.default_rng(0).normal(size=(60, 2))
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2))
    model.fit(features, features[:, 0] > 0)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    assert scan(tmp_path) == []


def test_functions_of_known_packages_are_not_let_through(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"csklearn.utils.fixes\nos\n.")
    (tmp_path / "more.pkl").write_bytes(b"cpandas\nread_pickle\n.")
    (tmp_path / "dots.pkl").write_bytes(
        b"\x80\x04\x8c\x06sklearn"[:3] + b"\x8c\x07sklearn\x8c\x08Base.mro\x93."
    )
    assert len(scan(tmp_path)) == 3


@pytest.mark.parametrize(
    "imported",
    [
        "pandas.core.computation.expr\nExpr", "scipy.io\nFortranFile",
        "pandas.io.common\nIOHandles",
        "scipy.stats._distn_infrastructure\nrv_continuous", "sklearn.datasets._base\nBunch",
        "pandas.core.framework\nFrame",
    ],
)  # fmt: skip
def test_classes_that_act_when_they_are_made_are_not_let_through(tmp_path, imported):
    (tmp_path / "model.pkl").write_bytes(f"c{imported}\n.".encode())
    assert len(scan(tmp_path)) == 1


def test_tables_and_sparse_matrices_are_let_through(tmp_path):
    import scipy.sparse

    content = [scipy.sparse.csr_matrix(np.eye(3)), scipy.sparse.coo_array(np.eye(2))]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    assert scan(tmp_path) == []


def test_a_package_of_the_projects_own_is_allowed_by_name(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"cours.encoders\nencode\n.")
    assert scan(tmp_path) == ["model.pkl imports ours.encoders.encode"]
    assert scan(tmp_path, allowed=["ours"]) == []


def test_text_and_numbers_are_no_pickles(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn: {}\n")
    (tmp_path / "model.json").write_text('{"trees": []}')
    np.save(tmp_path / "numbers.npy", np.arange(3))
    assert pickles.scan(tmp_path) == pickles.Result(pickles=0, findings=[])


# Parity.

TOLERANCE = config.Parity(absolute=1e-9, relative=1e-6)
GOLDEN = golden.Golden(
    records=[{}, {}],
    predictions=[0, 1],
    probabilities={"0": [0.75, 0.25], "1": [0.25, 0.75]},
)


def keep(folder: Path, document: object) -> Path:
    """Write golden rows into a version's evidence, with the digest that names them."""
    path = folder / "golden.json"
    evidence.write_json(path, document)
    subjects = [evidence.subject("golden.json", evidence.sha256_file(path))]
    scored = evidence.statement("score", "passed", [], subjects=subjects)
    evidence.write_json(folder / "score.json", scored)
    return path


ROWS = {"records": [{}, {}], "predictions": [0, 1], "probabilities": GOLDEN.probabilities}


def test_golden_rows_are_read_from_the_evidence(tmp_path):
    assert golden.find(tmp_path) is None
    keep(tmp_path, ROWS)
    assert golden.find(tmp_path) == GOLDEN


def test_golden_rows_that_were_changed_are_refused(tmp_path):
    path = keep(tmp_path, ROWS)
    path.write_text(path.read_text() + " ")
    with pytest.raises(Failure, match="not the golden rows that were scored"):
        golden.find(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"records": []}, {"records": None}, {"predictions": [0]}, {"probabilities": None},
        {"probabilities": {"0": [1.0]}}, {"probabilities": {"0": 1.0}},
    ],
)  # fmt: skip
def test_golden_rows_without_answers_are_refused(tmp_path, changes):
    keep(tmp_path, ROWS | changes)
    with pytest.raises(Failure, match="a prediction for each"):
        golden.find(tmp_path)


def answer(**changes: object) -> dict:
    return {"predictions": [0, 1], "probabilities": dict(GOLDEN.probabilities), **changes}


def test_equal_answers_have_parity():
    assert golden.compare(GOLDEN, answer(), TOLERANCE) == golden.Difference(
        largest=0.0, problem=None
    )


def test_the_tolerance_is_absolute_and_relative():
    near = {**GOLDEN.probabilities, "1": [0.25, 0.75 * (1 + 0.9e-6)]}
    far = {**GOLDEN.probabilities, "1": [0.25, 0.75 * (1 + 1.1e-6)]}
    assert golden.compare(GOLDEN, answer(probabilities=near), TOLERANCE).problem is None
    problem = golden.compare(GOLDEN, answer(probabilities=far), TOLERANCE).problem
    assert problem is not None
    assert problem.startswith("probability of 1, row 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"predictions": [0]},
        {"predictions": None},
        {"predictions": [0, "1"]},
        {"predictions": [0, True]},
        {"predictions": [0, math.nan]},
        {"predictions": [0, None]},
        {"probabilities": None},
        {"probabilities": {"0": [0.75, 0.25]}},
        {"probabilities": {"0": [0.75, 0.25], "1": [0.25, math.inf]}},
    ],
)
def test_what_is_not_comparable_is_no_parity(changes):
    assert golden.compare(GOLDEN, answer(**changes), TOLERANCE).problem is not None


def test_words_are_equal_or_not():
    rows = golden.Golden(records=[{}], predictions=["cat"], probabilities={})
    assert golden.compare(rows, {"predictions": ["cat"]}, TOLERANCE).problem is None
    assert golden.compare(rows, {"predictions": ["dog"]}, TOLERANCE).largest == math.inf


# What a container shows.


def seen(**changes: object) -> container.Visit:
    one = {"predictions": [0], "probabilities": {"0": [0.75], "1": [0.25]}}
    two = {"predictions": [1], "probabilities": {"0": [0.25], "1": [0.75]}}
    found = {
        "pages": {path: [200, ""] for path in ("/health", "/ready")},
        "answers": [[200, answer()], [200, one], [200, two]],
        "nonsense": [422, {}],
        "user": 65532,
        "model_digest": "d",
        "writable": [],
        "compilers": [],
        "milliseconds": [1.0] * 100,
        **changes,
    }
    return container.Visit(ready=True, seconds=2.0, found=found, log="")


def test_a_good_container_passes():
    assert proof._smoke(seen(), 60, "d")["status"] == "pass"
    assert proof._parity(seen(), GOLDEN, TOLERANCE)["status"] == "pass"
    assert proof._latency(seen(), config.Latency())["status"] == "pass"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pages": {"/metrics": [404, ""]}}, "/metrics answers 404"),
        ({"answers": [[500, "no"]]}, "/predict answers 500"),
        ({"nonsense": [200, {}]}, "nonsense is answered with 200"),
        ({"user": 0}, "runs as root"),
        ({"model_digest": "e"}, "not the model that was blessed"),
        ({"writable": ["/opt"]}, "can write /opt"),
        ({"compilers": ["gcc"]}, "brings gcc"),
    ],
)
def test_each_fault_of_a_container_is_seen(changes, message):
    check = proof._smoke(seen(**changes), 60, "d")
    assert check["status"] == "fail"
    assert message in check["message"]


def test_a_container_that_never_gets_ready_fails_with_its_last_words():
    visit = container.Visit(ready=False, seconds=60, found={}, log="a\nModuleNotFoundError: x")
    check = proof._smoke(visit, 60, "d")
    assert check["status"] == "fail"
    assert "ModuleNotFoundError: x" in check["message"]


def test_rows_one_by_one_must_agree_too():
    wrong = {"predictions": [1], "probabilities": {"0": [0.75], "1": [0.25]}}
    answers = seen().found["answers"]
    broken = seen(answers=[answers[0], [200, wrong], answers[2]])
    assert proof._parity(broken, GOLDEN, TOLERANCE)["status"] == "fail"


def test_latency_is_the_95th_percentile():
    policy = config.Latency(p95=10, requests=100)
    few = [1.0] * 95 + [500.0] * 5
    many = [1.0] * 94 + [500.0] * 6
    assert proof._latency(seen(milliseconds=few), policy)["status"] == "pass"
    assert proof._latency(seen(milliseconds=many), policy)["status"] == "fail"
    assert proof._latency(seen(milliseconds=few[:99]), policy)["status"] == "fail"


@pytest.mark.parametrize("user", [None, "", "0", "root", "0:0"])
def test_root_by_any_name(user):
    assert container.runs_as_root({"User": user})
    assert not container.runs_as_root({"User": "65532:65532"})


# Layouts.


def saved(folder: Path) -> Path:
    """An archive as `docker save` writes it."""
    path = folder / "image.tar"
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as content:
        content.addfile(tarfile.TarInfo("a"), io.BytesIO(b""))
    files = {
        "config.json": json.dumps({"config": {"User": "1", "Labels": {"a": "b"}}}).encode(),
        "one/layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "Layers": ["one/layer.tar", "two/layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(path, "w") as archive:
        for name, content_ in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content_)
            archive.addfile(info, io.BytesIO(content_))
        link = tarfile.TarInfo("two/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../one/layer.tar"
        archive.addfile(link)
    return path


@pytest.fixture
def written(tmp_path, monkeypatch):
    """An OCI layout, made of a small image."""

    def docker(*words: str, **_: object) -> str:
        Path(words[words.index("--output") + 1]).write_bytes(saved(tmp_path).read_bytes())
        return ""

    monkeypatch.setattr(layout, "docker", docker)
    layout.write("tag", tmp_path / "layout")
    return tmp_path / "layout"


def test_a_layout_is_the_same_every_time_and_reads_back(written):
    first = layout.read(written)
    before = evidence.sha256_tree(written)
    layout.write("tag", written)
    assert evidence.sha256_tree(written) == before
    assert first.labels == {"a": "b"}
    assert first.settings["User"] == "1"
    manifest = (written / "blobs/sha256" / first.manifest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == first.manifest


def test_layers_are_gzip(written):
    manifest = json.loads(
        (written / "blobs/sha256" / layout.read(written).manifest[7:]).read_text()
    )
    (first, second) = manifest["layers"]
    assert first == second
    content = gzip.decompress((written / "blobs/sha256" / first["digest"][7:]).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as inside:
        assert inside.getnames() == ["a"]


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5120])
def test_large_layers_are_compressed_in_parts_to_one_stream(monkeypatch, size):
    monkeypatch.setattr(layout, "_CHUNK", 100)
    wanted_ = (bytes(range(256)) * 20)[:size]
    content = b"".join(layout._gzip(io.BytesIO(wanted_)))
    assert gzip.decompress(content) == wanted_
    stream = zlib.decompressobj(31)  # Which stops at the end of the first member.
    assert stream.decompress(content) == wanted_
    assert stream.eof
    assert stream.unused_data == b""


def test_any_changed_file_of_a_layout_is_seen(written):
    for path in sorted((written / "blobs/sha256").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        with pytest.raises(Failure, match="not what its name says"):
            layout.read(written)
        path.write_bytes(content)
    layout.read(written)


def test_a_layout_has_one_image_and_nothing_else(written):
    (written / "blobs/sha256" / ("0" * 64)).write_text("stowaway")
    with pytest.raises(Failure, match="not the image's"):
        layout.read(written)
    (written / "blobs/sha256" / ("0" * 64)).unlink()
    index = json.loads((written / "index.json").read_text())
    (written / "index.json").write_text(json.dumps({"manifests": index["manifests"] * 2}))
    with pytest.raises(Failure, match="one image"):
        layout.read(written)


# The context.


def test_the_python_is_the_models():
    flavours = {"flavors": {"python_function": {"python_version": "3.12.4"}}}
    assert context.python_of(flavours) == "3.12"
    assert "python:3.12-slim" in context.default_base("3.12")
    for wrong in (None, "3", "three.four"):
        with pytest.raises(Failure, match="which Python"):
            context.python_of({"flavors": {"python_function": {"python_version": wrong}}})


def project_with(tmp_path: Path, text: str) -> config.Project:
    (tmp_path / "mlops.yaml").write_text(PROJECT + text)
    return config.load(tmp_path / "mlops.yaml")


FLAVOURS = {"flavors": {"python_function": {"python_version": "3.12.4"}}}
FIXED = f"python@sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("", "docker.io/library/python:3.12-slim-trixie, resolved"),
        (f"build: {{base: '{FIXED}'}}\n", f"{FIXED}, resolved"),
        ("build: {dockerfile: Dockerfile}\n", None),  # Which names its base itself.
        (f"build: {{dockerfile: Dockerfile, base: '{FIXED}'}}\n", f"{FIXED}, resolved"),
    ],
)
def test_the_base_is_the_users_or_fits_the_model(tmp_path, monkeypatch, text, base):
    monkeypatch.setattr(proof.engine, "resolve_base", lambda name: f"{name}, resolved")
    assert proof._base(project_with(tmp_path, text), FLAVOURS) == base


def test_labels_name_the_base_by_its_digest_or_not_at_all(tmp_path):
    blessed = verify(tmp_path, chain(tmp_path))
    prefix = "org.opencontainers.image.base"
    labels = context._labels(blessed, f"python:3.12@sha256:{'a' * 64}")
    assert labels[f"{prefix}.name"] == "python:3.12"
    assert labels[f"{prefix}.digest"] == f"sha256:{'a' * 64}"
    assert labels["org.opencontainers.image.revision"] == "c" * 40
    assert not any(key.startswith(prefix) for key in context._labels(blessed, None))


def test_a_function_of_the_projects_own_is_named_where_parity_breaks(tmp_path, monkeypatch):
    wrong = seen(answers=[[200, answer(predictions=[1, 1])], *seen().found["answers"][1:]])
    wrong.found["model_digest"] = "a"
    monkeypatch.setattr(proof.container, "visit", lambda *_, **__: wrong)
    blessed = dataclasses.replace(verify(tmp_path, chain(tmp_path)), model_digest="a")
    plain, own = (
        proof._prove(project_with(tmp_path, text), blessed, "tag", GOLDEN)[1]
        for text in ("", "score: model.score:predict\n")
    )
    assert plain["status"] == own["status"] == "fail"
    assert "model.score:predict" not in plain["message"]
    assert "the function model.score:predict" in own["message"]


def test_files_of_one_size_have_times_of_their_own_and_keep_them(tmp_path):
    """Docker sends a file again only when its size or its time changed."""
    times = []
    for content in ("one", "two", "one"):
        (tmp_path / "model").write_text(content)
        context._settle(tmp_path)
        times.append((tmp_path / "model").stat().st_mtime)
    assert times[0] == times[2] != times[1]


def test_the_visitor_makes_the_digest_that_the_evidence_has(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_MODEL", str(tmp_path))
    for name in ("a-b", "a/b", "a.b", "MLmodel"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert visitor.model_digest() == evidence.sha256_tree(tmp_path)


def test_a_summary_cannot_be_broken_by_what_a_container_says():
    checks = [evidence.check("smoke", "fail", "a|b\nc", "<b>", "x | <script>\n## y")]
    predicate = {"model": "m", "version": "1", "verdict": "failed", "checks": checks}
    text = summary.markdown(predicate)
    assert len(text.splitlines()) == 5
    assert "<script>" not in text


def test_a_summary_names_the_unit():
    checks = [evidence.check("latency", "pass", 6.3, 100, unit="ms")]
    text = summary.markdown({"model": "m", "version": "1", "verdict": "passed", "checks": checks})
    assert "| latency | pass | 6.3 ms | 100 ms |" in text


# The command.


def call(action: str, *words: str) -> int:
    return cli.main(["build", action, *words])


def test_why_nothing_could_be_built_is_written_down(tmp_path, monkeypatch, capsys):
    """Whatever stops the job that builds, the job that decides can say it."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (tmp_path / "mlops.yaml").write_text(PROJECT)
    work = str(tmp_path / "image")
    words = ("--config", str(tmp_path / "mlops.yaml"), "--output", work)
    assert call("resolve", *words) == 1
    capsys.readouterr()
    assert call("verdict", "--handover", work, "--model-result", "failure") == 1
    assert "no remote named origin" in capsys.readouterr().err
    assert "no remote named origin" in (tmp_path / "summary").read_text()


def built(folder: Path, status: str = "pass", message: str | None = None) -> str:
    checks = [evidence.check("parity", status, 0.5, "1e-9", message)]
    verdict = "passed" if status == "pass" else "failed"
    document = evidence.statement("build", verdict, checks, subjects=[], model="m", version="1")
    evidence.write_json(folder / "build.json", document)
    return str(folder)


def test_the_verdict_repeats_what_the_image_did_not_show(tmp_path, capsys):
    assert call("verdict", "--handover", built(tmp_path)) == 0
    assert call("verdict", "--handover", built(tmp_path, "fail", "row 3 differs")) == 1
    assert "parity: row 3 differs" in capsys.readouterr().err


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped", ""])
def test_a_job_that_did_not_end_well_is_no_pass(tmp_path, capsys, result):
    assert call("verdict", "--handover", str(tmp_path), "--model-result", result) == 1
    assert "handed no image over" in capsys.readouterr().err
    assert call("verdict", "--handover", built(tmp_path), "--model-result", result) == 1
    assert "then the job model ended" in capsys.readouterr().err


def test_a_version_is_a_number():
    with pytest.raises(ConfigurationError, match="expected a number"):
        versions.find(None, "m", "latest")  # type: ignore[arg-type]
