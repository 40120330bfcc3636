"""A workspace → its learning loop: `mailroom learn`, and what a cycle would use."""

import tempfile
from pathlib import Path
from typing import Any

from mailroom.cycle.desk import Desk
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.run import Options, learn, preview
from mailroom.cycle.steps import Tell
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER
from mailroom.models.runtime import Precision
from mailroom.workspace.workspace import CYCLES, MODELS, Workspace


def desk_of(workspace: Workspace) -> Desk:
    """The workspace's parts as learning needs them."""
    precisions: dict[str, Precision] = {BI_ENCODER: workspace.precision(BI_ENCODER)}
    if workspace.version.has_cross_encoder:
        precisions[CROSS_ENCODER] = workspace.precision(CROSS_ENCODER)
    return Desk(
        models=workspace.root / MODELS,
        settings=workspace.settings,
        taxonomy=workspace.taxonomy,
        database=workspace.database,
        champion=workspace.version,
        precisions=precisions,
        threads=workspace.threads,
    )


def learn_workspace(workspace: Workspace, options: Options, tell: Tell) -> Outcome:
    """Run one cycle in the workspace."""
    return learn(desk_of(workspace), workspace.root / CYCLES, options, tell)


def preview_workspace(workspace: Workspace, seed: int, tell: Tell) -> dict[str, Any]:
    """What a cycle would use now; the workspace stays as it is."""
    with tempfile.TemporaryDirectory() as work:
        return preview(desk_of(workspace), Path(work), workspace.root / CYCLES, seed, tell)
