"""From a pull request to monitored production: what the actions and workflows decide with."""

__version__ = "0.1.0"
