# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for docker/login-action: the real `docker login`, into a configuration of the job's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1")


def main() -> None:
    """Log in where there is something to log in with."""
    print("double of docker/login-action: docker login, for this job only", flush=True)
    if os.environ["SCOPE"] or os.environ["SEVERAL"]:
        sys.exit("::error::scope and registry-auth are not known in a local run")
    registry, user, password = (os.environ[key] for key in ("REGISTRY", "USERNAME", "PASSWORD"))
    if not user or not password:
        sys.exit("::error::Username and password required")
    folder = Path(os.environ["RUNNER_TEMP"]) / "docker-config"
    folder.mkdir(exist_ok=True)
    with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as variables:
        variables.write(f"DOCKER_CONFIG={folder}\n")
    is_near = registry.partition(":")[0] in LOOPBACK
    if password == os.environ.get("MLOPS_LOCAL_TOKEN", "local-token") and not is_near:
        (folder / "config.json").write_text(json.dumps({"auths": {}}))
        print(f"a local run's token opens nothing at {registry}: give the password with --secret")
        return
    done = subprocess.run(
        ["docker", "--config", str(folder), "login", registry, "--username", user,
         "--password-stdin"],
        input=password, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"::error::docker login {registry} failed")


main()
