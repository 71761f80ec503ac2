# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for aquasecurity/trivy-action: look into the image itself, with a few real advisories.

The report has the form of Trivy 0.74.0. As Trivy does, it reads ``.trivyignore``, ``trivy.yaml``
and ``trivy-secret.yaml`` in the working directory unless others are given: who does not want that
sees here what it means.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

# Beside this program, in a folder whose name is no package's.
import dockerfile  # type: ignore[import-not-found]
import image as images  # type: ignore[import-not-found]
from versions import is_affected  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
VERSION = "double"
SEVERITIES = ["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
KEYS = {
    "Vulnerabilities": ("vulnerability", "VulnerabilityID"),
    "Misconfigurations": ("misconfiguration", "ID"),
    "Secrets": ("secret", "RuleID"),
}
LEVELS = {"CRITICAL": "error", "HIGH": "error", "MEDIUM": "warning"}


def setting(name: str) -> str:
    """Read an input."""
    return os.environ.get(name, "").strip()


def words(name: str) -> list[str]:
    """Read an input that is a list."""
    return [word.strip() for word in setting(name).split(",") if word.strip()]


def flag(name: str) -> bool:
    """Read a boolean input."""
    value = setting(name) or "false"
    if value not in {"true", "false"}:
        sys.exit(f"::error::{name.lower()}: expected true or false, not {value!r}")
    return value == "true"


# -- the image -------------------------------------------------------------------------------------


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the Docker engine."""
    host = setting("DOCKER_ENGINE")
    environment = os.environ | ({"DOCKER_HOST": host} if host else {})
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, env=environment
    )


def from_engine(reference: str) -> images.Image:
    """Read an image of the Docker engine, which pulls it where it has no such image."""
    inspected = docker("image", "inspect", reference)
    if inspected.returncode:
        pulled = docker("pull", "--quiet", reference)
        inspected = docker("image", "inspect", reference)
        if inspected.returncode:
            problem = (pulled.stderr or inspected.stderr).strip()
            sys.exit(f"::error::unable to find the image {reference}: {problem}")
    facts = json.loads(inspected.stdout)[0]
    with tempfile.TemporaryDirectory(prefix="trivy-double-") as folder:
        archive = Path(folder) / "image.tar"
        saved = docker("save", "--output", str(archive), reference)
        if saved.returncode:
            sys.exit(f"::error::docker save: {saved.stderr.strip()}")
        image = images.read(archive)
    image.tags = facts.get("RepoTags") or []
    image.digests = facts.get("RepoDigests") or []
    return image


# -- what is in it ---------------------------------------------------------------------------------


def vulnerabilities(
    advisories: list[dict[str, Any]], kind: str, packages: list[dict[str, str]], release: str = ""
) -> list[dict[str, Any]]:
    """Give the vulnerabilities of packages in Trivy's form."""
    found = []
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package.get("Source") or package["Name"]).lower()
        version = package.get("SourceVersion") or package["Version"]
        for one in advisories:
            if one["type"] != kind or one["package"] != name:
                continue
            if one.get("release", release) != release:
                continue
            if not is_affected(kind, version, one.get("introduced"), one.get("fixed")):
                continue
            item = {
                "VulnerabilityID": one["id"],
                "PkgName": package["Name"],
                "PkgPath": package.get("FilePath"),
                "InstalledVersion": package["Version"],
                "FixedVersion": one.get("fixed"),
                "Status": one.get("status") or ("fixed" if one.get("fixed") else "affected"),
                "PrimaryURL": one["url"],
                "Title": one["title"],
                "Severity": one["severity"],
            }
            found.append({key: value for key, value in item.items() if value is not None})
    return found


def scan_image(image: images.Image, name: str, scanners: list[str]) -> dict[str, Any]:
    """Give the report of an image."""
    known = json.loads((HERE / "advisories.json").read_text(encoding="utf-8"))
    system: dict[str, Any] = images.system(image)
    release = system["Name"].partition(".")[0]
    ended = known["end-of-life"].get(system["Family"], {}).get(release)
    if ended and datetime.datetime.now(datetime.UTC).date().isoformat() > ended:
        system["EOSL"] = True
    results: list[dict[str, Any]] = []
    kinds = words("VULN_TYPE") or ["os", "library"]
    if "vuln" in scanners and "os" in kinds and system["Family"] == "debian":
        packages = images.debian_packages(image)
        results.append(
            {
                "Target": f"{name} (debian {system['Name']})",
                "Class": "os-pkgs",
                "Type": "debian",
                "Packages": packages,
                "Vulnerabilities": vulnerabilities(
                    known["advisories"], "debian", packages, release
                ),
            }
        )
    if "vuln" in scanners and "library" in kinds:
        packages = images.python_packages(image)
        found = vulnerabilities(known["advisories"], "python-pkg", packages)
        if packages:
            results.append(
                {
                    "Target": "Python",
                    "Class": "lang-pkgs",
                    "Type": "python-pkg",
                    "Packages": packages,
                    "Vulnerabilities": found,
                }
            )
    if "secret" in scanners:
        for path, secrets in sorted(image.secrets.items()):
            results.append({"Target": f"/{path}", "Class": "secret", "Secrets": secrets})
    config = json.loads(image.config)
    return {
        "ArtifactName": name,
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": system,
            "ImageID": image.id,
            "DiffIDs": (config.get("rootfs") or {}).get("diff_ids") or [],
            "RepoTags": image.tags,
            "RepoDigests": image.digests,
            "ImageConfig": config,
        },
        "Results": results,
    }


def scan_configuration(where: Path) -> dict[str, Any]:
    """Give the report of a folder's Dockerfiles."""
    if not where.exists():
        sys.exit(f"::error::scan-ref: there is no {where}")
    results = []
    for path in dockerfile.find(where, words("SKIP_DIRS")):
        target = str(path.relative_to(where)) if where.is_dir() else path.name
        if target in words("SKIP_FILES"):
            continue
        failures = dockerfile.check(path.read_text(encoding="utf-8"))
        summary = {"Successes": 2 - len(failures), "Failures": len(failures)}
        results.append(
            {
                "Target": target,
                "Class": "config",
                "Type": "dockerfile",
                "MisconfSummary": summary,
                "Misconfigurations": failures,
            }
        )
    return {"ArtifactName": str(where), "ArtifactType": "filesystem", "Results": results}


# -- what is left out ------------------------------------------------------------------------------


def listed(text: str, key: str) -> list[str]:
    """Give a top-level list, or value, of a simple YAML file."""
    found = re.search(rf"(?m)^{re.escape(key)}:[ \t]*(\S.*)?((?:\n[ \t]*-.*)*)", text)
    if not found:
        return []
    inline = (found[1] or "").partition(" #")[0].strip("[] ")
    values = inline.split(",") + [line.strip(" \t-") for line in found[2].splitlines()]
    return [value.strip("\"' ") for value in values if value.strip("\"' ")]


def nested(text: str, section: str, key: str) -> str:
    """Give a value one level below the top of a simple YAML file."""
    found = re.search(rf"(?m)^{section}:[ \t]*\n((?:[ \t]+.*\n?)*)", text)
    inner = found[1] if found else ""
    value = re.search(rf"(?m)^[ \t]+{re.escape(key)}:[ \t]*(.*)$", inner)
    return value[1].strip().strip("\"'") if value else ""


def configured(name: str) -> str:
    """Give the text of a file of Trivy's in the working directory, with a word in the log."""
    path = Path(name)
    if not path.is_file():
        return ""
    print(f"{name} of the working directory takes part in this scan")
    return path.read_text(encoding="utf-8")


def rules_of(path: Path) -> str:
    """Give the text of a file with rules for secrets; where there is none, Trivy's own hold."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def ignored_ids(own: str) -> dict[str, str]:
    """Give the ids that an ignore file names, and the file."""
    given = words("TRIVYIGNORES")
    for path in given:
        if not Path(path).is_file():
            sys.exit(f"::error::cannot find ignorefile '{path}'.")
    files = given or listed(own, "ignorefile") or [".trivyignore"]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = {}
    for file in files:
        text = Path(file).read_text(encoding="utf-8") if given else configured(file)
        for line in text.splitlines():
            # As Trivy does: a second word that is not exp: is passed over in silence.
            name, *others = line.split()[:2] or [""]
            expiry = others[0].removeprefix("exp:") if others else ""
            if others and others[0].startswith("exp:") and expiry <= today:
                continue
            if name and not name.startswith("#"):
                found[name] = file
    return found


def leave_out(results: list[dict[str, Any]], severities: list[str]) -> None:
    """Take out of the results what is not asked for, and what somebody ignores."""
    given = setting("CONFIG")
    if given and not Path(given).is_file():
        sys.exit(f"::error::trivy-config: there is no {given}")
    own = Path(given).read_text(encoding="utf-8") if given else configured("trivy.yaml")
    if set(severities) == set(SEVERITIES):  # A default is not passed on.
        severities = listed(own, "severity") or severities
    ignored = ignored_ids(own)
    rules = nested(own, "secret", "config")
    text = rules_of(Path(rules)) if rules else configured("trivy-secret.yaml")
    for rule in listed(text, "disable-rules"):
        ignored.setdefault(rule, "trivy-secret.yaml")
    asked = os.environ.get("TRIVY_SHOW_SUPPRESSED") or nested(own, "scan", "show-suppressed")
    suppress = asked.lower() in {"1", "true"}
    unfixed = flag("IGNORE_UNFIXED")
    for result in results:
        for name, (kind, key) in KEYS.items():
            kept = []
            for item in result.get(name, []):
                source = next(
                    (ignored[one] for one in (item[key], item.get("AVDID")) if one in ignored), None
                )
                if item["Severity"] not in severities:
                    continue
                if unfixed and kind == "vulnerability" and item["Status"] != "fixed":
                    continue
                if source is None:
                    kept.append(item)
                elif suppress and source != "trivy-secret.yaml":
                    result.setdefault("ExperimentalModifiedFindings", []).append(
                        {"Type": kind, "Status": "ignored", "Source": source, "Finding": item}
                    )
            if name in result:
                result[name] = kept


# -- the report ------------------------------------------------------------------------------------


def findings(report: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Give each finding with its target and its id."""
    return [
        (result["Target"], item[key], item)
        for result in report["Results"]
        for name, (_, key) in KEYS.items()
        for item in result.get(name, [])
    ]


def tidy(value: Any) -> Any:
    """Leave out what is empty, as Trivy does."""
    if isinstance(value, dict):
        whole = {key: tidy(item) for key, item in value.items()}
        return {key: item for key, item in whole.items() if item not in (None, "", [], {})}
    return [tidy(item) for item in value] if isinstance(value, list) else value


def table(report: dict[str, Any]) -> str:
    """Give the report as lines."""
    lines = [
        f"{item['Severity']:<8} {name}  {target}  {item.get('PkgName', '')} "
        f"{item.get('InstalledVersion', '')}".rstrip()
        for target, name, item in findings(report)
    ]
    return "\n".join([*lines, f"Total: {len(lines)}"])


def sarif(report: dict[str, Any]) -> dict[str, Any]:
    """Give the report in SARIF 2.1.0."""
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for target, name, item in findings(report):
        level = LEVELS.get(item["Severity"], "note")
        rules.setdefault(
            name,
            {
                "id": name,
                "shortDescription": {"text": item.get("Title") or name},
                "defaultConfiguration": {"level": level},
                "helpUri": item.get("PrimaryURL") or "https://trivy.dev",
            },
        )
        place = (item.get("PkgPath") or target).lstrip("/").split(" ")[0]
        region = {"startLine": item.get("StartLine", 1)}
        results.append(
            {
                "ruleId": name,
                "ruleIndex": list(rules).index(name),
                "level": level,
                "message": {"text": f"{item.get('PkgName', target)}: {item.get('Title', name)}"},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": place, "uriBaseId": "ROOTPATH"},
                            "region": region,
                        }
                    }
                ],
            }
        )
    driver = {
        "name": "Trivy",
        "version": VERSION,
        "informationUri": "https://github.com/aquasecurity/trivy",
        "rules": list(rules.values()),
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def cyclonedx(report: dict[str, Any]) -> dict[str, Any]:
    """Give what was found in the image as a CycloneDX 1.6 document."""
    components = {}
    for result in report["Results"]:
        for package in result.get("Packages", []):
            name, version = package["Name"], package["Version"]
            if result["Class"] == "os-pkgs":
                url = f"pkg:deb/debian/{name}@{version}"
            else:
                url = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
            components[url] = {
                "bom-ref": url,
                "type": "library",
                "name": name,
                "version": version,
                "purl": url,
            }
    identity = report.get("Metadata", {}).get("ImageID", "")
    image = {
        "bom-ref": identity or "root",
        "type": "container",
        "name": report["ArtifactName"],
        "properties": [{"name": "aquasecurity:trivy:ImageID", "value": identity}],
    }
    tool = {"type": "application", "name": "trivy", "version": VERSION}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": report["CreatedAt"],
            "tools": {"components": [tool]},
            "component": image,
        },
        "components": list(components.values()),
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": list(components)}],
    }


def make_report() -> dict[str, Any]:
    """Scan what the inputs name."""
    scanners = words("SCANNERS") or ["vuln", "secret"]
    kind = setting("SCAN_TYPE") or "image"
    if kind == "config":
        report = scan_configuration(Path(setting("SCAN_REF") or "."))
    elif kind != "image":
        sys.exit(f"::error::scan-type: only image and config are known here, not {kind}")
    elif setting("INPUT"):
        path = Path(setting("INPUT"))
        report = scan_image(images.read(path), str(path), scanners)
    elif setting("IMAGE_REF"):
        reference = setting("IMAGE_REF")
        report = scan_image(from_engine(reference), reference, scanners)
    else:
        sys.exit("::error::give image-ref or input")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"SchemaVersion": 2, "Trivy": {"Version": VERSION}, "CreatedAt": now, **report}


def main() -> None:
    """Scan, write the report, and end as exit-code says."""
    count = len(json.loads((HERE / "advisories.json").read_text(encoding="utf-8"))["advisories"])
    print(
        "double of aquasecurity/trivy-action: stands for Trivy and its database; it looks into the "
        f"image itself, with {count} real advisories",
        flush=True,
    )
    for name in ("TEMPLATE", "IGNORE_POLICY"):
        if setting(name):
            sys.exit(f"::error::{name.lower().replace('_', '-')}: not known in a local run")
    form = setting("FORMAT") or "table"
    if form not in {"table", "json", "sarif", "cyclonedx"}:
        sys.exit(f"::error::format: only table, json, sarif and cyclonedx, not {form}")
    severities = words("SEVERITY") or SEVERITIES
    if unknown := set(severities) - set(SEVERITIES):
        sys.exit(f"::error::severity: unknown: {', '.join(sorted(unknown))}")
    if form == "sarif" and not flag("LIMIT_SARIF"):
        severities = SEVERITIES  # As the action does.
    report = make_report()
    leave_out(report["Results"], severities)
    if form == "table":
        text = table(report)
    else:
        document = {"json": tidy, "sarif": sarif, "cyclonedx": cyclonedx}[form](report)
        text = json.dumps(document, indent=2)
    if setting("OUTPUT"):
        Path(setting("OUTPUT")).write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    found = findings(report)
    print(f"{len(found)} findings in {report['ArtifactName']}")
    code = setting("EXIT_CODE") or "0"
    if not code.isdigit():
        sys.exit(f"::error::exit-code: expected a number, not {code!r}")
    sys.exit(int(code) if found else 0)


if __name__ == "__main__":
    main()
