"""Labelled emails + labels' texts → a fine-tuned bi-encoder, and label vectors learned with it.

Knows nothing of the store nor of versions; what is learned, and by which loss, stands in `retrieval_task`.
"""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.models.prototypes import (
    LabelledVectors,
    Prototypes,
    choose_fit,
    common_shift,
    fit_prototypes,
    likeness_gain,
    make_prototypes,
    plain_fit,
    unit,
)
from mailroom.records import Example
from mailroom.train.averaged_runs import Run, averaged, folder_of, report_of
from mailroom.train.bi_encoder_settings import BiEncoderSettings
from mailroom.train.checkpoints import Checkpoint
from mailroom.train.label_texts import LabelTexts, encode_label_texts
from mailroom.train.loop import Report, TrainingLoop, TrainResult
from mailroom.train.retrieval_task import Evaluation, RetrievalModel, RetrievalTask, Rows
from mailroom.train.text_encoder import TextEncoder

Vectors = NDArray[np.float32]

# Examples of a label that its start is made from: more would move it little and cost a reading each.
_STARTING_EXAMPLES = 20
# With fewer validation examples no choice between two ways, and no moment to stop, rests on them.
LEAST_VALIDATION = 100


@dataclass(frozen=True, slots=True)
class BiEncoderResult:
    """What the training came to; `directory` holds the encoder, `prototypes` the label vectors with it.

    Shares 0…1 on the validation examples, NaN where there were none; `start_top1` is what the untrained
    encoder's prototypes answered right, NaN where validation was too little to stop by. `training` is the
    first of `runs` whose weights were averaged.
    """

    directory: Path
    prototypes: Prototypes
    training: TrainResult
    runs: int
    start_top1: float
    top1: float
    recall_at_5: float


@dataclass(frozen=True, slots=True)
class TaughtText:
    """A text with a teacher's shares of some labels by id; the shares are above 0 and sum to 1."""

    text: str
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shares that are none; DataError says how."""
        fits = len(self.labels) == len(self.shares) and abs(sum(self.shares) - 1) < 1e-3
        if not fits or min(self.shares) <= 0:
            raise DataError(
                f"expected a share above 0 for each of {len(self.labels)} candidates that sum to 1, got "
                f"{len(self.shares)} that sum to {sum(self.shares):.3f}"
            )


def train_bi_encoder(
    source: Path,
    out: Path,
    examples: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[LabelTexts],
    settings: BiEncoderSettings,
    checkpoint_dir: Path | None = None,
    progress: Report | None = None,
    budget_s: float | None = None,
    taught: Sequence[TaughtText] = (),
) -> BiEncoderResult:
    """Fine-tune the encoder in the folder `source` and write it, exportable as `source` is, into `out`.

    The best weights on `validation` are kept, the last ones where it has fewer than LEAST_VALIDATION; those
    of `settings.runs` runs are averaged, or of as many as `budget_s` has time for. What was killed goes on
    from `checkpoint_dir`, and from folders beside it for the second run on. `taught` texts are pulled
    towards a teacher's shares (`distill`). Raises DataError for labels that `labels` does not hold and where
    there are no examples, ModelError where training breaks down.
    """
    encoder = TextEncoder(source, settings.max_tokens)
    train, held_back = _encode(encoder, examples, labels, taught), _encode(encoder, validation, labels, ())
    if not len(train.labelled):
        raise DataError("expected labelled emails to train a bi-encoder on, got none")
    texts = encode_label_texts(encoder, labels)
    start, kappa = _start(encoder, train, labels, texts, settings)
    starting = unit(start.label_vectors([label.id for label in labels], texts))
    key = _digest(examples, validation, labels, settings, taught)

    def run(number: int, left_s: float | None) -> Run[RetrievalModel]:
        begun = time.monotonic()
        own = replace(settings.training, seed=settings.training.seed + number)
        model = RetrievalModel(TextEncoder(source, settings.max_tokens), starting)
        task = RetrievalTask(model, train, labels, replace(settings, training=own))
        check = Evaluation(model, held_back).top1 if len(held_back.targets) >= LEAST_VALIDATION else None
        checkpoint = Checkpoint(folder_of(number, checkpoint_dir), key)
        model.encoder.prepare(own)
        loop = TrainingLoop(task, own, check, checkpoint, None, left_s)
        loop.report = report_of(number, settings.runs, progress, left_s, lambda: loop.state.seconds)
        result = loop.train()
        return Run(model, result, loop.seconds_before + time.monotonic() - begun)

    # Every run has an encoder of its own.
    del encoder
    model, results = averaged(run, settings.runs, budget_s)
    model.encoder.save(out)
    prototypes, top1, recall = _LearnedLabels(model, train, held_back, labels, kappa).best(start.gain)
    first = results[0]
    start_top1 = first.history[0][1] if first.history else math.nan
    return BiEncoderResult(out, prototypes, first, len(results), start_top1, top1, recall)


def _start(
    encoder: TextEncoder,
    train: Rows,
    labels: Sequence[LabelTexts],
    texts: Vectors,
    settings: BiEncoderSettings,
) -> tuple[Prototypes, float]:
    """Prototypes of the untrained encoder, from some examples of each label; and what texts count, κ."""
    generator = np.random.default_rng(settings.training.seed)
    order = train.labelled[generator.permutation(len(train.labelled))]
    taken = np.zeros(len(labels), dtype=int)
    picked = []
    for row in order.tolist():
        if taken[train.targets[row]] < _STARTING_EXAMPLES and train.weights[row] > 0:
            taken[train.targets[row]] += 1
            picked.append(row)
    vectors = encoder.encode([train.ids[row] for row in picked])
    known = LabelledVectors(vectors, train.targets[picked], train.weights[picked])
    fit = choose_fit(texts, known, settings.text_kappa, settings.training.seed)
    ids = [label.id for label in labels]
    return fit_prototypes(ids, texts, known, seed=settings.training.seed, fit=fit), fit.kappa


class _LearnedLabels:
    """The label vectors of a trained encoder: those that were trained with it, or made anew behind it."""

    def __init__(
        self,
        model: RetrievalModel,
        train: Rows,
        held_back: Rows,
        labels: Sequence[LabelTexts],
        kappa: float,
    ) -> None:
        self._model, self._train, self._held_back, self._labels = model, train, held_back, labels
        self._kappa = kappa
        self._texts = encode_label_texts(model.encoder, labels)
        self._asked = model.encoder.encode(held_back.ids)

    def best(self, starting_gain: float) -> tuple[Prototypes, float, float]:
        """The better ones, and their top-1 and Recall@5 on the validation examples, NaN without any.

        Made anew where there is too little validation to tell: with a handful of examples a label, and some
        labels without any, trained vectors were 7 points worse (docs/experiments-learning.md).
        """
        anew, trained = self._made_anew(), self._trained(starting_gain)
        few = len(self._held_back.targets) < LEAST_VALIDATION
        # What a teacher said of texts without a label is in those that were trained alone.
        taught = any(lesson is not None for lesson in self._train.taught)
        takes_anew = not taught if few else self._share(anew, 1) > self._share(trained, 1)
        best = anew if takes_anew else trained
        return best, self._share(best, 1), self._share(best, 5)

    def _made_anew(self) -> Prototypes:
        rows, train = self._train.labelled, self._train
        vectors = self._model.encoder.encode([train.ids[row] for row in rows.tolist()])
        known = LabelledVectors(vectors, train.targets[rows], train.weights[rows])
        fit = plain_fit(self._texts, known, self._kappa)
        return fit_prototypes([label.id for label in self._labels], self._texts, known, fit=fit)

    def _trained(self, starting_gain: float) -> Prototypes:
        held_back = self._held_back
        learned = self._model.directions().detach().cpu().numpy()
        counts = self._train.counts(len(self._labels))
        shift = common_shift(self._texts, learned, counts)
        gain, seen = starting_gain, np.flatnonzero(counts[held_back.targets] > 0)
        if len(seen):
            judged = LabelledVectors(self._asked[seen], held_back.targets[seen], held_back.weights[seen])
            gain = likeness_gain(learned, unit(self._texts + shift), judged)
        return make_prototypes([label.id for label in self._labels], learned, counts, shift, gain)

    def _share(self, prototypes: Prototypes, nearest: int) -> float:
        """The share, by weight, of validation examples with the right label among the nearest."""
        held_back = self._held_back
        if not len(held_back.targets):
            return math.nan
        vectors = prototypes.label_vectors([label.id for label in self._labels], self._texts)
        best = np.argsort(-(self._asked @ vectors.T), axis=1, kind="stable")[:, :nearest]
        hits = (best == held_back.targets[:, None]).any(axis=1)
        return float(np.average(hits, weights=held_back.weights))


def _encode(
    encoder: TextEncoder,
    examples: Sequence[Example],
    labels: Sequence[LabelTexts],
    taught: Sequence[TaughtText],
) -> Rows:
    place = {label.id: index for index, label in enumerate(labels)}
    named = {example.label for example in examples} | {label for text in taught for label in text.labels}
    unknown = sorted(named - set(place))
    if unknown:
        raise DataError(
            f"{len(unknown)} labels of the examples are not in the taxonomy, {unknown[0]!r} first; "
            "leave out examples of retired labels"
        )
    lessons = tuple((tuple(place[label] for label in text.labels), text.shares) for text in taught)
    texts = [*(example.text for example in examples), *(text.text for text in taught)]
    weights = [*(example.weight for example in examples), *(text.weight for text in taught)]
    return Rows(
        tuple(encoder.email_ids(text) for text in texts),
        np.array([*(place[example.label] for example in examples), *(-1 for _ in taught)], dtype=np.intp),
        np.array(weights, dtype=np.float32),
        (*(None for _ in examples), *lessons),
    )


def _digest(
    examples: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[LabelTexts],
    settings: BiEncoderSettings,
    taught: Sequence[TaughtText],
) -> str:
    """What a checkpoint belongs to: any change of text, label or setting makes another run of it.

    But for how many runs there are: each is the same whatever comes after it.
    """
    own = {name: value for name, value in asdict(settings).items() if name != "runs"}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode())
    for part in (examples, validation):
        for example in part:
            content = [example.text, example.label, example.weight]
            digest.update(json.dumps(content).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    for label in labels:
        content = [label.id, label.groups, sorted(label.ancestors)]
        digest.update(json.dumps(content).encode("utf-8", "surrogatepass"))
    for lesson in taught:
        digest.update(json.dumps(asdict(lesson)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
