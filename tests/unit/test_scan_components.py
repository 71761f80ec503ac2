"""What is attested as an image's components is about that image."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_actions import push
from mlops_actions.errors import Failure
from mlops_actions.scan import components

ID, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def document(*properties: object) -> dict[str, object]:
    component = {"type": "container", "properties": list(properties)}
    return {"bomFormat": "CycloneDX", "metadata": {"component": component}}


def named(value: object) -> dict[str, object]:
    return {"name": "aquasecurity:trivy:ImageID", "value": value}


def test_the_images_own(tmp_path):
    path = tmp_path / "sbom.cdx.json"
    path.write_text(json.dumps(document({"name": "aquasecurity:trivy:SchemaVersion"}, named(ID))))
    components.require(path, ID)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document(named(OTHER)), "is about sha256:b"),
        (document(), "is about no image"),
        (document(named(None)), "is about no image"),
        (document("x"), "is about no image"),
        ({"bomFormat": "CycloneDX"}, "is about no image"),
        ({"bomFormat": "CycloneDX", "metadata": {"component": {"properties": 3}}}, "no image"),
        ({"spdxVersion": "SPDX-2.3"}, "not a list of components"),
        ([], "Expected a JSON object"),
        (None, "missing"),
    ],
)
def test_what_is_not(tmp_path, content, message):
    path = tmp_path / "sbom.cdx.json"
    if content is not None:
        path.write_text(json.dumps(content))
    with pytest.raises(Failure, match=message):
        components.require(path, ID)


@pytest.mark.parametrize(("value", "reached"), [(ID, True), (OTHER, False), (None, False)])
def test_another_images_components_stop_the_push(monkeypatch, tmp_path, value, reached):
    """What comes before and after is shown elsewhere: only the components decide here."""
    sent: list[Any] = []

    def served(*_: object) -> None:
        sent.append("an image")
        raise Failure("Far enough.")

    (tmp_path / "sbom.cdx.json").write_text(json.dumps(document(named(value))))
    version = SimpleNamespace(version="1", commit="")
    image = SimpleNamespace(config=ID, manifest=OTHER)
    monkeypatch.setattr(push.evidence, "read", lambda *_: {})
    monkeypatch.setattr(push.versions, "with_registry", lambda *_: version)
    monkeypatch.setattr(push.layout, "read", lambda _: image)
    monkeypatch.setattr(push, "agree", lambda *_: None)
    monkeypatch.setattr(push, "served", served)
    loaded: Any = SimpleNamespace(config=SimpleNamespace(unattested="allow"))
    with pytest.raises(Failure, match="Far enough" if reached else "The list of components"):
        push.push(loaded, tmp_path, "localhost/m")
    assert bool(sent) is reached
