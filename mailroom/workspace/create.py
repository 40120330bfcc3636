"""A taxonomy and base models → a workspace.

taxonomy.yaml and mailroom.toml are written last: a folder without the latter is no workspace, so an `init`
that was killed can be run again, with another taxonomy as well.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mailroom.classify.wordings import competitor_text
from mailroom.config import CONFIG_NAME, Settings, render_toml
from mailroom.errors import ConfigError
from mailroom.models.encoder_config import LATE_INTERACTION
from mailroom.models.registry import (
    BI_ENCODER,
    CROSS_ENCODER,
    ModelVersion,
    draft_version,
    make_manifest,
    publish_version,
)
from mailroom.models.runtime import Precision
from mailroom.models.sources import EMBEDDED
from mailroom.store.database import open_database, url_in_folder
from mailroom.store.promotions import PromotionLog
from mailroom.taxonomy import Taxonomy, display_name, load_taxonomy, to_yaml
from mailroom.workspace.sample_mail import SAMPLE_MAIL
from mailroom.workspace.user import current_user
from mailroom.workspace.workspace import MODELS, Workspace

# Chosen on training texts of five label trees, by name and with descriptions; the temperature is the median
# of those fitted on four of them for the fifth (docs/experiments-cross-encoder.md).
LATE_WEIGHT_NAMES, LATE_WEIGHT_DESCRIBED = 0.3, 0.6
LATE_TEMPERATURE = 0.075
AUTO, NONE = "auto", "none"
# The gate looks at this many labels at most, spread over the tree: more would only take longer.
GATE_LABELS = 300
CROSS_GATE_LABELS = 20

Progress = Callable[[str], None]


def create_workspace(
    root: Path,
    taxonomy_file: Path,
    bi_encoder: str,
    cross_encoder: str,
    progress: Progress,
    store: str = Settings().store.url,
) -> Workspace:
    """Make a workspace in `root` and open it.

    `bi_encoder` and `cross_encoder` are `embedded`, a directory, a hub id, or (cross) `none`,
    `late-interaction` or `auto`; `store` is the URL of the prediction log. Raises ConfigError where the
    folder or the store cannot be used, TaxonomyError, ModelError, StoreError.
    """
    _check_folder(root)
    _check_store(store, root)
    progress("reading the taxonomy")
    taxonomy = load_taxonomy(taxonomy_file)
    _check_taxonomy_in(root, taxonomy_file, taxonomy)
    progress("opening the base models")
    if cross_encoder == AUTO:
        # Behind others it is not measured: until it is, they decide alone.
        cross_encoder = LATE_INTERACTION if bi_encoder == EMBEDDED else NONE
    sources = _resolve(bi_encoder, cross_encoder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        root = root.resolve()
        version = make_version(root / MODELS, sources, taxonomy, progress)
        progress("opening the prediction log")
        with open_database(url_in_folder(store, root)) as database:
            PromotionLog(database).promote(version.id, current_user(), "made by init")
        progress("writing the settings")
        _write_taxonomy(root, taxonomy_file, taxonomy)
        values = {
            "models.bi_encoder": bi_encoder,
            "models.cross_encoder": cross_encoder,
            "store.url": store,
        }
        _write_atomically(root / CONFIG_NAME, render_toml(values))
    except OSError as exc:
        raise ConfigError(f"{root}: the workspace cannot be written: {exc.strerror}") from exc
    workspace = Workspace.open(root)
    progress("computing the label vectors")
    workspace.label_vectors(workspace.version.load_bi_encoder(workspace.precision()))
    return workspace


def make_version(
    models: Path, sources: dict[str, tuple[str, Path]], taxonomy: Taxonomy, progress: Progress
) -> ModelVersion:
    """Export the encoders, put each through the parity gate, and publish them as one version.

    `sources` maps the encoder's folder to (name as the user gave it, directory of the base model).
    """
    from mailroom.models.export import export_bi_encoder, export_cross_encoder
    from mailroom.models.export_one_pass import export_late_interaction

    precision: dict[str, Precision] = {}
    parity: dict[str, Any] = {}
    shared: dict[str, bool] = {}
    with draft_version(models) as draft:
        # First, since a one-pass model that is unusable is found within a second, before the slower export.
        if CROSS_ENCODER in sources:
            name, source = sources[CROSS_ENCODER]
            if name == LATE_INTERACTION:
                weight = late_weight(taxonomy)
                export_late_interaction(source, draft / CROSS_ENCODER, weight, LATE_TEMPERATURE, progress)
            else:
                export_cross_encoder(source, draft / CROSS_ENCODER, progress)
        export_bi_encoder(sources[BI_ENCODER][1], draft / BI_ENCODER, progress)
        progress("comparing int8 with fp32")
        parity[BI_ENCODER] = _bi_encoder_gate(draft / BI_ENCODER, taxonomy)
        precision[BI_ENCODER] = _served(parity[BI_ENCODER])
        if CROSS_ENCODER in sources:
            progress("comparing the cross-encoder's int8 with fp32")
            parity[CROSS_ENCODER] = _cross_encoder_gate(draft, precision[BI_ENCODER], taxonomy)
            precision[CROSS_ENCODER] = _served(parity[CROSS_ENCODER])
            progress("comparing how both encoders read an email")
            shared = _shared_reading(draft, taxonomy)
        progress("sealing the model version")
        names = {encoder: name for encoder, (name, _) in sources.items()}
        return publish_version(draft, make_manifest(names, precision, parity=parity, shared_reading=shared))


def _check_folder(root: Path) -> None:
    if (root / CONFIG_NAME).exists():
        raise ConfigError(f"{root}: holds a workspace already; name another folder, or remove it first")
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: expected a folder, got a file")
    parent = root
    while not parent.exists():
        parent = parent.parent
    # Said before the minute that an export takes, not after it.
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{parent}: cannot be written; name a folder of your own")


def _check_store(store: str, root: Path) -> None:
    """A database with the log of another workspace is refused: the two would answer with one's models."""
    url = url_in_folder(store, root)
    if url.get_backend_name() == "sqlite":
        return
    with open_database(url) as database:
        current = PromotionLog(database).current()
        if current is not None:
            raise ConfigError(
                f"{database.place}: expected an empty database, got the log of a workspace whose model is "
                f"{current}; name another one, or copy that workspace's folder to serve it from here too"
            )


def _resolve(bi_encoder: str, cross_encoder: str) -> dict[str, tuple[str, Path]]:
    from mailroom.models.sources import resolve_base_model

    sources = {BI_ENCODER: (bi_encoder, resolve_base_model(bi_encoder))}
    if cross_encoder == LATE_INTERACTION:
        # The bi-encoder itself compares its tokens.
        sources[CROSS_ENCODER] = (cross_encoder, sources[BI_ENCODER][1])
    elif cross_encoder != NONE:
        meant = [name for name in (AUTO, NONE, LATE_INTERACTION) if name.startswith(cross_encoder.casefold())]
        if meant and not Path(cross_encoder).is_dir():
            raise ConfigError(
                f"cross-encoder {cross_encoder!r}: expected {LATE_INTERACTION}, {NONE}, {AUTO}, a model "
                f"directory or a hub id; did you mean {meant[0]}?"
            )
        sources[CROSS_ENCODER] = (cross_encoder, resolve_base_model(cross_encoder))
    return sources


def _check_taxonomy_in(root: Path, source: Path, taxonomy: Taxonomy) -> None:
    """Somebody's own taxonomy.yaml is never written over; said before the export, too."""
    target = root / Settings().taxonomy
    if target.exists() and load_taxonomy(target).revision != taxonomy.revision:
        raise ConfigError(f"{target}: exists and differs from {source}; remove one of the two")


def _write_taxonomy(root: Path, source: Path, taxonomy: Taxonomy) -> None:
    """Keep a YAML file as its author wrote it, comments and all; bring JSON and CSV into that form."""
    target = root / Settings().taxonomy
    if target.exists():
        return
    text = source.read_text(encoding="utf-8-sig")
    _write_atomically(target, text if _is_yaml(text) else to_yaml(taxonomy))


def _is_yaml(text: str) -> bool:
    """True for the form for people; JSON begins with a bracket, CSV has no key at the start of a line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return any(line.startswith(("labels:", "- ")) for line in lines)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _bi_encoder_gate(directory: Path, taxonomy: Taxonomy) -> dict[str, Any]:
    from mailroom.models.bi_encoder import BiEncoder
    from mailroom.models.parity import parity

    labels = [display_name(label, taxonomy) for label in _spread(taxonomy, GATE_LABELS)]
    fp32, int8 = (BiEncoder.load(directory, precision) for precision in ("fp32", "int8"))
    return parity(fp32, int8, labels, SAMPLE_MAIL).to_dict()


def _cross_encoder_gate(draft: Path, retrieves_in: Precision, taxonomy: Taxonomy) -> dict[str, Any]:
    from mailroom.models.bi_encoder import BiEncoder
    from mailroom.models.cross_encoder import load_cross_encoder
    from mailroom.models.parity import cross_parity

    labels = [competitor_text(label, taxonomy) for label in _spread(taxonomy, CROSS_GATE_LABELS)]
    fp32, int8 = (load_cross_encoder(draft / CROSS_ENCODER, precision) for precision in ("fp32", "int8"))
    precisions: tuple[Precision, Precision] = ("fp32", retrieves_in)
    reference, served = (BiEncoder.load(draft / BI_ENCODER, precision) for precision in precisions)
    return cross_parity(fp32, int8, labels, SAMPLE_MAIL, (reference, served)).to_dict()


def _served(verdict: Mapping[str, Any]) -> Precision:
    return "int8" if verdict["passed"] else "fp32"


def late_weight(taxonomy: Taxonomy) -> float:
    """What late interaction counts beside the cosine: more where labels say what belongs to them."""
    described = sum(bool(label.description) for label in taxonomy.assignable)
    return LATE_WEIGHT_DESCRIBED if 2 * described > len(taxonomy.assignable) else LATE_WEIGHT_NAMES


def _shared_reading(draft: Path, taxonomy: Taxonomy) -> dict[str, bool]:
    from mailroom.models.shared_reading import shared_reading

    labels = [display_name(label, taxonomy) for label in _spread(taxonomy, CROSS_GATE_LABELS)]
    return shared_reading(draft / BI_ENCODER, draft / CROSS_ENCODER, labels, SAMPLE_MAIL)


def _spread(taxonomy: Taxonomy, most: int) -> list[Any]:
    labels = taxonomy.assignable
    step = max(1, len(labels) // most)
    return list(labels[::step][:most])
