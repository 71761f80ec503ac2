"""The list of components that is attested with an image."""

from __future__ import annotations

from pathlib import Path

from mlops_actions import evidence
from mlops_actions.errors import Failure

_IMAGE_ID = "aquasecurity:trivy:ImageID"


def require(path: Path, image_id: str) -> None:
    """Raise :class:`Failure` unless this is a CycloneDX document of Trivy's about that image.

    ``image_id`` is the digest of the image's configuration: of a layout Trivy knows no other.
    Source: ``pkg/sbom/cyclonedx`` of Trivy, properties of ``metadata.component``.
    """
    document = evidence.read_json(path)
    if document.get("bomFormat") != "CycloneDX":
        raise Failure("This is not a list of components in CycloneDX.", file=path)
    try:
        properties = document["metadata"]["component"]["properties"]
        known = {str(one["name"]): one.get("value") for one in properties}
    except (KeyError, TypeError, AttributeError):
        known = {}
    if known.get(_IMAGE_ID) != image_id:
        raise Failure(
            f"The list of components is about {known.get(_IMAGE_ID) or 'no image'}, and the image "
            f"is {image_id}.",
            file=path,
        )
