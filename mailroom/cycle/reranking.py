"""An encoder that retrieves and a cycle's examples → a one-pass cross-encoder behind it, fitted and exported.

Candidate sets are what was logged before the label was known, or what label vectors propose that learned from
other folds. How much the similarity counts beside the score, and the temperature, come from validation gold,
on what the encoder retrieves for it. Knows nothing of evaluation gold.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.wordings import competitor_text
from mailroom.cycle.desk import Desk
from mailroom.cycle.label_learning import labelled_vectors
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Answering, Setup
from mailroom.cycle.training import Report, first_given, told
from mailroom.errors import ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.encoder_config import WEIGHTS_NAME
from mailroom.models.one_pass_config import ONE_PASS_KEY, config_from_encoder, read_json
from mailroom.models.parity import cross_parity
from mailroom.models.registry import CROSS_ENCODER
from mailroom.models.runtime import Precision
from mailroom.models.shared_reading import shared_reading
from mailroom.records import Example

if TYPE_CHECKING:
    from mailroom.train.blend import Blend
    from mailroom.train.one_pass_model import OnePassModel
    from mailroom.train.rerank_sets import CandidateSet
    from mailroom.train.train_settings import TrainSettings

RERANKED = "trained_cross_encoder"
# What the parity gate reads: a logit for each pair of a label and an email.
_GATE_LABELS, _GATE_EMAILS = 20, 60
# A set holds the wrong labels that training names, relatives of the right one, and proposals. This and what
# follows is unmeasured: what was measured (docs/experiments-training.md) had 10 candidates and 3 epochs.
_CANDIDATES = 16
_FOLDS = 2
# Share of old gold beside new examples where a cross-encoder goes on learning.
_REPLAYED = 0.5
_MOST_VALIDATION = 1000
_EPOCHS = 4
_BATCH = 16
_LEARNING_RATE = 1e-4
_CHECKPOINT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Reranked:
    """A trained and exported cross-encoder: how it answers, the int8 gate's verdict, figures.

    `shared_reading` says by precision whether its reading of an email may stand for that of its encoder.
    """

    setup: Setup
    parity: dict[str, Any]
    shared_reading: dict[str, bool]
    figures: dict[str, Any]


def why_no_cross_encoder(base: Setup, champion: Setup) -> str | None:
    """Why no cross-encoder can be trained behind `base`; None where one can."""
    if continued(champion) is not None:
        return None
    try:
        config_from_encoder(Path(base.bi_encoder) / WEIGHTS_NAME)
    except ModelError as exc:
        return f"the encoder cannot start a cross-encoder: {exc}"
    return None


def train_cross_encoder_step(
    desk: Desk,
    answering: Answering,
    work: Path,
    champion: Setup,
    base: Setup,
    parts: Parts,
    anew: bool,
    budget_s: float,
    seed: int,
    report: Report,
) -> Reranked:
    """Train a cross-encoder behind `base` within `budget_s`, fit its blend on validation, and export it.

    Goes on with the champion's where that is a one-pass one, else starts from the weights of `base`. Where
    these were trained `anew`, the champion's layers learn all examples again: they read other states.
    ModelError where training breaks down.
    """
    from mailroom.models.export_one_pass import export_one_pass
    from mailroom.train.cross_encoder import top1_evaluator, train_cross_encoder
    from mailroom.train.one_pass_weights import save_one_pass
    from mailroom.train.ranking_batches import ExampleEncoder
    from mailroom.train.rerank_sets import competitor_texts

    weights = Path(base.bi_encoder) / WEIGHTS_NAME
    before = continued(champion)
    model, tokenizer_from = _start(weights, before)
    encoder = ExampleEncoder(tokenizer_from / "tokenizer.json", model.config)
    texts = competitor_texts(desk.taxonomy)
    examples = to_learn(parts, before is not None and not anew, seed)
    sets = _candidate_sets(desk, answering, champion, base, examples, seed)
    asked = _Asked.of(desk, answering, base, parts.validation[:_MOST_VALIDATION])
    judged = [encoder.encode(found.to_ranking(texts)) for found in asked.answerable()]
    result = train_cross_encoder(
        model,
        [encoder.encode(found.to_ranking(texts)) for found in sets],
        _settings(desk, seed),
        top1_evaluator(judged) if judged else None,
        work / "cross_encoder_checkpoint",
        lambda progress: report(*told("training the cross-encoder", progress)),
        first_given(work / "cross_encoder_budget.json", budget_s),
    )
    blend = _fit(model, encoder, asked, texts)
    model.config = replace(
        model.config, similarity_weight=blend.similarity_weight, temperature=blend.temperature
    )
    saved, target = work / "cross_encoder_weights", work / RERANKED / CROSS_ENCODER
    for made in (saved, work / RERANKED):
        shutil.rmtree(made, ignore_errors=True)
    save_one_pass(model, saved, tokenizer_from)
    target.parent.mkdir()
    report("exporting the cross-encoder", 0, 0)
    export_one_pass(saved, target)
    emails = [example.text for example in parts.train]
    verdict = cross_encoder_gate(desk, target, base, emails)
    figures = {
        "sets": len(sets),
        "continued": before is not None,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
        "similarity_weight": blend.similarity_weight,
        "temperature": blend.temperature,
        "validation_top_1": blend.top1,
        "validation_retrieval_top_1": blend.retrieval_top1,
    }
    shared = shared_reading(Path(base.bi_encoder), target, *gate_probes(desk, emails))
    return Reranked(_setup(base, target, bool(verdict["passed"])), verdict, shared, figures)


def _setup(base: Setup, cross_encoder: Path, int8: bool) -> Setup:
    return replace(
        base,
        name=f"{base.name}+{RERANKED}",
        cross_encoder=str(cross_encoder),
        cross_precision="int8" if int8 else "fp32",
        temperature_factor=1.0,
    )


def continued(champion: Setup) -> Path | None:
    """Weights of the champion's cross-encoder, where it is one that training can go on with."""
    if champion.cross_encoder is None:
        return None
    weights = Path(champion.cross_encoder) / WEIGHTS_NAME
    try:
        return weights if ONE_PASS_KEY in read_json(weights / "config.json") else None
    except ModelError:
        return None


def _start(weights: Path, before: Path | None) -> tuple["OnePassModel", Path]:
    """The model to train and the folder of its tokenizer.

    A new one has layers of its own for the candidates: its email side stays the encoder's, so that one
    reading of an email serves both stages. Where one of this kind goes on, its email side becomes that of
    the new encoder; one whose email side learned with it goes on as it is.
    """
    from mailroom.train.one_pass_weights import from_encoder, load_one_pass

    if before is None:
        return from_encoder(weights, separate_candidate_tower=True), weights
    old = load_one_pass(before)
    if not old.config.separate_candidate_tower:
        return old, before
    try:
        model = from_encoder(weights, separate_candidate_tower=True)
    except ModelError:
        return old, before
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if sizes != {name: tensor.shape for name, tensor in old.state_dict().items()}:
        return old, before
    learned = {
        name: tensor
        for name, tensor in old.state_dict().items()
        if not name.startswith("layers.") and "embedding" not in name
    }
    model.load_state_dict(learned, strict=False)
    return model, weights


def to_learn(parts: Parts, continues: bool, seed: int) -> list[Example]:
    """All examples; where a cross-encoder goes on learning, the new ones and as much old gold."""
    from mailroom.train.rerank_sets import replayed

    if not continues:
        return list(parts.train)
    old = [one for one in parts.gold if one.email_id not in parts.fresh]
    new = [one for one in parts.train if one.grade != "gold" or one.email_id in parts.fresh]
    return replayed(new, old, _REPLAYED, seed) if new else old


def _settings(desk: Desk, seed: int) -> "TrainSettings":
    from mailroom.train.train_settings import TrainSettings

    return TrainSettings(
        epochs=_EPOCHS,
        batch_size=_BATCH,
        learning_rate=_LEARNING_RATE,
        dropout=0.0,
        freeze_embeddings=True,
        patience=2,
        seed=seed,
        threads=desk.threads,
        checkpoint_every_steps=_CHECKPOINT_STEPS,
    )


def _candidate_sets(
    desk: Desk, answering: Answering, champion: Setup, base: Setup, examples: Sequence[Example], seed: int
) -> list["CandidateSet"]:
    """The sets to learn from; proposals by the champion's encoder, which has read all examples already."""
    from mailroom.train.cross_fit import cross_fit_prototypes, folds_of
    from mailroom.train.rerank_sets import RerankSettings, candidate_sets

    labels = desk.label_ids
    vectors = answering.embeddings(champion).unit([one.text for one in examples])
    known = labelled_vectors(examples, vectors, {label: row for row, label in enumerate(labels)})
    folds = folds_of(examples, _FOLDS, seed)
    texts = answering.text_vectors(champion)
    proposals = cross_fit_prototypes(labels, texts, known, folds, desk.settings.classify.top_k)
    settings = RerankSettings(candidates=max(2, min(_CANDIDATES, desk.settings.classify.top_k)), seed=seed)
    return candidate_sets(examples, proposals, desk.taxonomy, answering.label_vectors(base), settings)


@dataclass(frozen=True)
class _Asked:
    """Validation examples with what retrieval finds for them: ids and similarities, best first."""

    examples: Sequence[Example]
    labels: list[tuple[str, ...]]
    similarities: list[NDArray[np.float32]]

    @classmethod
    def of(cls, desk: Desk, answering: Answering, base: Setup, examples: Sequence[Example]) -> "_Asked":
        ids = np.array(desk.label_ids, dtype=object)
        vectors = answering.embeddings(base).unit([one.text for one in examples])
        found = vectors @ answering.label_vectors(base).T  # (n, labels)
        best = np.argsort(-found, axis=1, kind="stable")[:, : desk.settings.classify.top_k]
        return cls(
            examples,
            [tuple(ids[row].tolist()) for row in best],
            list(np.take_along_axis(found, best, axis=1).astype(np.float32)),
        )

    @property
    def targets(self) -> list[int | None]:
        """Where the right label stands; None where retrieval missed it."""
        pairs = zip(self.examples, self.labels, strict=True)
        return [labels.index(one.label) if one.label in labels else None for one, labels in pairs]

    def answerable(self) -> list["CandidateSet"]:
        """The sets that hold the right label, which comes first in them."""
        from mailroom.train.rerank_sets import CandidateSet

        return [
            CandidateSet(one, (one.label, *(label for label in labels if label != one.label)))
            for one, labels in zip(self.examples, self.labels, strict=True)
            if one.label in labels
        ]


def _fit(model: "OnePassModel", encoder: Any, asked: _Asked, texts: dict[str, str]) -> "Blend":
    """How much the similarity counts, and the temperature, on what retrieval found for validation gold."""
    from mailroom.train.blend import fit_blend
    from mailroom.train.cross_encoder import score_examples
    from mailroom.train.ranking_batches import RankingExample

    rows = [
        encoder.encode(RankingExample(one.text, tuple(texts[label] for label in labels), 0))
        for one, labels in zip(asked.examples, asked.labels, strict=True)
    ]
    scores = [row.numpy() for row in score_examples(model, rows)]
    scale = float(model.log_scale.detach().exp())
    return fit_blend(scores, asked.similarities, asked.targets, scale)


def gate_probes(desk: Desk, emails: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels spread over the tree, as they are reranked, and some of the workspace's own mail."""
    labels = desk.taxonomy.assignable
    step, stride = max(1, len(labels) // _GATE_LABELS), max(1, len(emails) // _GATE_EMAILS)
    texts = [competitor_text(label, desk.taxonomy) for label in labels[::step][:_GATE_LABELS]]
    return texts, list(emails[::stride][:_GATE_EMAILS])


def cross_encoder_gate(desk: Desk, directory: Path, base: Setup, emails: Sequence[str]) -> dict[str, Any]:
    """int8 against fp32 as they decide behind `base`, on what the workspace itself has."""
    fp32, int8 = (load_cross_encoder(directory, precision) for precision in ("fp32", "int8"))
    precisions: tuple[Precision, Precision] = ("fp32", base.bi_precision)
    reference, served = (BiEncoder.load(Path(base.bi_encoder), precision) for precision in precisions)
    return cross_parity(fp32, int8, *gate_probes(desk, emails), (reference, served)).to_dict()
