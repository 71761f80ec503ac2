"""From a blessed version to a proved image: resolve it, build it, prove what was built.

``resolve`` talks to the registry and runs nothing of the model's. ``image`` gets no credentials of
the registry's: it builds, starts the container, and compares its predictions.
"""

from mlops_actions.build.command import add_arguments, run

__all__ = ["add_arguments", "run"]
