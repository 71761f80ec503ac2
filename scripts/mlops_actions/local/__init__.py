"""Run a repository's workflows on this machine, through act.

The repository is only read: the run works on a copy of it, with what is not committed in a commit
of its own, and with a bare repository for its origin. Uses of this project, at whatever commit,
become this checkout; others' actions become small doubles. Nothing here stands for permissions,
concurrency, environments or approvals: only GitHub does.

Left under --output (by default .mlops-local in the repository, which git is told to ignore):
  origin.git/       the origin that steps push to, with the branch mlops-state; kept between runs
  github/           comments.json and comments/ID.md, dispatches.json; kept between runs
  runs/N/           event.json, result.json, outputs.json, log.txt, summaries/, artifacts/WORKFLOW/
  latest            a link to the newest of these
Runs at the same time share only the first two.
"""

from mlops_actions.local.command import add_arguments, run
from mlops_actions.local.log import Annotation, Job, Step
from mlops_actions.local.session import LocalRun, run_event

__all__ = ["Annotation", "Job", "LocalRun", "Step", "add_arguments", "run", "run_event"]
