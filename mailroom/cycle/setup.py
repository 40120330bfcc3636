"""A way to answer: encoder, what labels learned, perhaps a cross-encoder → a classifier, and answers."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.classifier import Classifier, LabelEntry, Provenance
from mailroom.classify.label_vectors import all_wordings, encode_labels, text_vectors
from mailroom.classify.marks import ReviewRules
from mailroom.classify.wordings import competitor_text
from mailroom.cycle.desk import Desk
from mailroom.cycle.embeddings import Embeddings
from mailroom.evaluate.answers import Answer, answer_of
from mailroom.evaluate.gate import Kind
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.encoder_config import (
    CONFIG_NAME,
    GRAPH_NAMES,
    LATE_INTERACTION,
    TOKENIZER_NAME,
    LateInteractionConfig,
    read_config,
)
from mailroom.models.lexical import load_lexical
from mailroom.models.prototypes import load_prototypes
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER, ModelVersion
from mailroom.models.runtime import Precision
from mailroom.records import Email, Example

Advance = Callable[[int, int], None]
CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Setup:
    """Folders and files of one way to answer, and the precision in which each encoder serves.

    `temperature_factor` multiplies the temperature of whichever stage decides. A setup without
    `cross_encoder` decides by retrieval, one without `lexical` by the cosine alone. `uses_silver` says
    whether its labels learned from silver too, `mail_weight` what an unlabelled email counted that drew them
    (0: nothing did). A `late_weight` above 0 says that the cross-encoder is late interaction, which learned
    nothing, and with `late_temperature` how it counts. Answers are marked below `review_below` and above
    `outside_above`, where these were fitted.
    """

    name: str
    bi_encoder: str
    bi_precision: Precision
    prototypes: str | None = None
    cross_encoder: str | None = None
    cross_precision: Precision | None = None
    temperature_factor: float = 1.0
    uses_silver: bool = False
    lexical: str | None = None
    review_below: float | None = None
    outside_above: float | None = None
    mail_weight: float = 0.0
    late_weight: float = 0.0
    late_temperature: float = 0.0

    @property
    def kind(self) -> Kind:
        """What decides, as the gate calls it."""
        return "retrieval" if self.cross_encoder is None else "two_stage"

    def without_cross_encoder(self) -> "Setup":
        """The same, deciding by retrieval, at that stage's own temperature."""
        return replace(
            self,
            cross_encoder=None,
            cross_precision=None,
            temperature_factor=1.0,
            late_weight=0.0,
            late_temperature=0.0,
        )

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, which `Setup(**values)` takes back."""
        return asdict(self)


def champion_setup(desk: Desk) -> Setup:
    """What answers now."""
    version = desk.champion
    folder = version.directory
    late = None
    if version.cross_encoder_kind == LATE_INTERACTION:
        late = read_config(folder / CROSS_ENCODER, LateInteractionConfig)
    return Setup(
        name=CHAMPION,
        bi_encoder=str(folder / BI_ENCODER),
        bi_precision=desk.precisions[BI_ENCODER],
        prototypes=str(path) if (path := version.prototypes_path) is not None else None,
        lexical=str(words) if (words := version.lexical_path) is not None else None,
        cross_encoder=str(folder / CROSS_ENCODER) if version.has_cross_encoder else None,
        cross_precision=desk.precisions.get(CROSS_ENCODER),
        temperature_factor=version.temperature_factor,
        review_below=version.review_below_probability,
        outside_above=version.outside_above,
        late_weight=late.weight if late is not None else 0.0,
        late_temperature=late.temperature if late is not None else 0.0,
    )


def rules_of(desk: Desk, setup: Setup) -> ReviewRules:
    """When the setup's answers are marked for review."""
    return ReviewRules.of(desk.settings.classify, setup.review_below, setup.outside_above)


def encoder_digest(version: ModelVersion, precision: Precision) -> str:
    """What tells one bi-encoder's vectors from another's: all files that serving reads of it."""
    names = (CONFIG_NAME, TOKENIZER_NAME, GRAPH_NAMES[precision])
    parts = "".join(version.manifest.files[f"{BI_ENCODER}/{name}"].sha256 for name in names)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


class Answering:
    """Opens setups and lets them answer; an encoder is loaded, and a text read by it, once."""

    def __init__(self, desk: Desk, work: Path, kept: Path | None = None) -> None:
        """`work` holds what was read in this cycle, `kept` what the champion's encoder read in any."""
        self._desk, self._work, self._kept = desk, work, kept
        self._embeddings: dict[tuple[str, Precision], Embeddings] = {}
        self._label_texts: dict[tuple[str, Precision], NDArray[np.float32]] = {}

    def embeddings(self, setup: Setup) -> Embeddings:
        """The emails' vectors by the setup's encoder."""
        self._open(setup)
        return self._embeddings[setup.bi_encoder, setup.bi_precision]

    def text_vectors(self, setup: Setup) -> NDArray[np.float32]:
        """Unit vectors (labels, d) of the labels' texts by the setup's encoder."""
        self._open(setup)
        return self._label_texts[setup.bi_encoder, setup.bi_precision]

    def label_vectors(self, setup: Setup) -> NDArray[np.float32]:
        """Vectors (labels, d) to retrieve by."""
        texts = self.text_vectors(setup)
        learned = load_prototypes(Path(setup.prototypes)) if setup.prototypes is not None else None
        return texts if learned is None else learned.label_vectors(self._desk.label_ids, texts)

    def keep_vectors(self) -> None:
        """Write what the champion's encoder read for the next cycle; what others have read goes."""
        if self._kept is None:
            return
        for embeddings in self._embeddings.values():
            embeddings.write()
        champion = encoder_digest(self._desk.champion, self._desk.precisions[BI_ENCODER])
        for folder in self._kept.iterdir() if self._kept.is_dir() else ():
            if folder.name != champion:
                shutil.rmtree(folder, ignore_errors=True)

    def classifier(self, setup: Setup) -> Classifier:
        """The setup as a classifier, whose predictions name it as their model."""
        taxonomy = self._desk.taxonomy
        labels = [
            LabelEntry(label.id, label.path, competitor_text(label, taxonomy))
            for label in taxonomy.assignable
        ]
        cross_encoder = None
        if setup.cross_encoder is not None:
            cross_encoder = load_cross_encoder(Path(setup.cross_encoder), setup.cross_precision or "fp32")
        words = load_lexical(Path(setup.lexical)) if setup.lexical is not None else None
        name = self._desk.champion.id if setup.name == CHAMPION else setup.name
        return Classifier(
            self.embeddings(setup),
            self.label_vectors(setup),
            labels,
            self._desk.settings.classify,
            Provenance(name, taxonomy.revision),
            cross_encoder,
            temperature_factor=setup.temperature_factor,
            rules=rules_of(self._desk, setup),
            words=None if words is None else words.for_labels(self._desk.label_ids),
        )

    def answers(
        self, setup: Setup, examples: Sequence[Example], advance: Advance | None = None
    ) -> list[Answer]:
        """How the setup answers labelled emails, in their order."""
        classify = self.classifier(setup).classify
        emails = [Email(example.email_id, "", example.text) for example in examples]
        found: list[Answer] = []
        with ThreadPoolExecutor(self._desk.threads, thread_name_prefix="mailroom") as pool:
            try:
                for example, prediction in zip(examples, pool.map(classify, emails), strict=True):
                    found.append(answer_of(example.email_id, example.label, prediction.candidates))
                    if advance is not None:
                        advance(len(found), len(examples))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return found

    def _open(self, setup: Setup) -> None:
        key = (setup.bi_encoder, setup.bi_precision)
        if key in self._embeddings:
            return
        directory = Path(setup.bi_encoder)
        encoder = BiEncoder.load(directory, setup.bi_precision)
        # A champion's folder and a challenger's are told apart by the folder above them.
        folder = self._work / "vectors" / f"{directory.parent.name}.{directory.name}.{setup.bi_precision}"
        champion = self._desk.champion
        if self._kept is not None and directory.parent == champion.directory:
            folder = self._kept / encoder_digest(champion, setup.bi_precision)
        self._embeddings[key] = Embeddings(encoder, folder, self._desk.threads)
        if directory.parent == champion.directory:
            found = text_vectors(champion, encoder, self._desk.taxonomy, setup.bi_precision)
        else:
            found = encode_labels(encoder, all_wordings(self._desk.taxonomy))
        self._label_texts[key] = found
