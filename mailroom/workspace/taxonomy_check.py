"""A label tree → everything that is wrong with it, with the embedder's opinion where there is one."""

from pathlib import Path

from mailroom.classify.label_vectors import encode_labels
from mailroom.classify.wordings import wordings
from mailroom.config import find_workspace
from mailroom.errors import ConfigError
from mailroom.taxonomy import Problem, Taxonomy, check, find_indistinguishable, load_taxonomy
from mailroom.workspace.workspace import Workspace

# The cosine of two labels above which no email tells them apart. On five public label trees two pairs are
# above it: meeting_schedule beside schedule_meeting, and an issue under a product's old and new name.
INDISTINGUISHABLE = 0.94


def check_taxonomy(file: Path | None, explicit: Path | None) -> tuple[Path, list[Problem], int]:
    """(file, problems, assignable labels) of a taxonomy file, or of the workspace's own.

    Raises TaxonomyError where the file cannot be read as a taxonomy at all; ConfigError where neither a file
    nor a workspace is to be found.
    """
    workspace = _workspace(explicit, required=file is None)
    if file is None and workspace is not None:
        file = workspace.root / workspace.settings.taxonomy
    if file is None:
        raise ConfigError("expected a taxonomy file or a workspace; name one of them")
    taxonomy = load_taxonomy(file)
    problems = check(taxonomy)
    if workspace is not None:
        with workspace:
            problems += _too_close(taxonomy, workspace)
    return file, problems, len(taxonomy.assignable)


def _workspace(explicit: Path | None, required: bool) -> Workspace | None:
    try:
        root = find_workspace(explicit)
    except ConfigError:
        if required or explicit is not None:
            raise
        return None
    return Workspace.open(root, read_only=True)


def _too_close(taxonomy: Taxonomy, workspace: Workspace) -> list[Problem]:
    encoder = workspace.version.load_bi_encoder(workspace.precision())
    vectors = encode_labels(encoder, [wordings(label, taxonomy) for label in taxonomy.assignable])
    return [
        Problem(
            "warning",
            one.line,
            f"{one.id} and {other.id} read alike (cosine {cosine:.2f}): sharpen their texts or merge them",
        )
        for one, other, cosine in find_indistinguishable(taxonomy, vectors, INDISTINGUISHABLE)
    ]
