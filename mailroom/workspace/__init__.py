"""A workspace is a directory: mailroom.toml, taxonomy.yaml, mailroom.db, models/<version>/.

The one part that knows all others: it wires settings, store and models together.
"""

from mailroom.workspace.classification import ClassificationRun, Tally
from mailroom.workspace.create import create_workspace
from mailroom.workspace.workspace import Workspace

__all__ = ["ClassificationRun", "Tally", "Workspace", "create_workspace"]
