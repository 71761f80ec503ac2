"""Run the command line as ``python -m mlops_actions``."""

import sys

from mlops_actions.cli import main

sys.exit(main())
