"""A workspace → what its next cycle would learn from."""

from mailroom.cycle.aggregate import Advance, Curated, Model, aggregate
from mailroom.store.examples import ExampleReader
from mailroom.workspace.workspace import Workspace


def curate(workspace: Workspace, advance: Advance | None = None) -> Curated:
    """Gold, silver and negatives by the workspace's settings and current model; nothing is written."""
    version = workspace.version
    encoder = version.load_bi_encoder(workspace.precision())
    model = Model(version.id, workspace.classifier(), workspace.label_vectors(encoder), workspace.threads)
    reader = ExampleReader(workspace.database)
    return aggregate(reader, workspace.taxonomy, model, workspace.settings.learning, advance=advance)
