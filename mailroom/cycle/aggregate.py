"""Store → everything that one cycle learns from and is judged by: the first steps of the loop.

Reads the store and writes nothing. Answers of another model or taxonomy than the current one are given anew
and not logged: confidence means something among answers of one model alone.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mailroom.config import LearningSettings
from mailroom.curate.gold import Gold, collect_gold
from mailroom.curate.hard_negatives import add_hard_negatives
from mailroom.curate.silver import Silver, collect_silver
from mailroom.curate.split import Part, SplitShares
from mailroom.curate.thresholds import Audited, SilverRules
from mailroom.records import OUTSIDE, Email, Example, Prediction
from mailroom.store.examples import ExampleReader
from mailroom.taxonomy import Taxonomy

# Emails answered anew so far, and of how many.
Advance = Callable[[int, int], None]


class Classifies(Protocol):
    """The current model, as `classify.classifier.Classifier` is one."""

    def classify(self, email: Email) -> Prediction:
        """Exactly one label for one email."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """The model version that answers now, and its unit vectors (assignable labels, d) of the taxonomy."""

    id: str
    classifier: Classifies
    label_vectors: NDArray[np.float32]
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Curated:
    """What a cycle uses: `train` is gold and silver with negatives, the other parts are gold alone.

    `negative_shares` says how much of the negatives is of which kind (0…1); `without_text` emails have
    a label and no text that was kept.
    """

    train: tuple[Example, ...]
    gold: Gold
    silver: Silver
    negative_shares: Mapping[str, float]
    without_text: int

    def parts(self) -> dict[Part, tuple[Example, ...]]:
        """The examples of each part."""
        return {"train": self.train, "validation": self.gold.validation, "evaluation": self.gold.evaluation}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values; no example and no text."""
        gold = self.gold
        return {
            "gold": {
                "train": len(gold.train),
                "validation": len(gold.validation),
                "evaluation": len(gold.evaluation),
                "audited": len(gold.audited),
                "without_text": self.without_text,
                "set_aside": [item.to_dict() for item in gold.set_aside],
            },
            "silver": self.silver.report.to_dict(),
            "negatives": dict(self.negative_shares),
        }


def aggregate(
    reader: ExampleReader,
    taxonomy: Taxonomy,
    model: Model,
    settings: LearningSettings,
    seed: int = 0,
    advance: Advance | None = None,
) -> Curated:
    """Collect gold, silver and negatives; the same for the same store, taxonomy, model, settings and seed."""
    labelled = list(reader.labelled())
    gold = collect_gold(labelled, taxonomy, SplitShares(settings.evaluation_share, settings.validation_share))
    pool = list(reader.unlabelled(settings.silver_pool_emails))
    # An audit that no label fits is a mistake of whatever label it was given: silver would learn it.
    outside = {email.email_id for email in labelled if email.feedback.is_outside}
    foreign = {email.email_id for email in labelled if email.feedback.source == "audit"} & outside
    audits = [email for email in labelled if email.email_id in gold.audited | foreign]
    asked = [_Asked(email.email_id, email.text, email.prediction) for email in pool]
    # Audits judge and are never trained on, so that any model's answer to them is one to an unknown email.
    asked += [_Asked(email.email_id, email.text, email.first_prediction) for email in audits]
    answers = _current_answers(asked, model, taxonomy, advance)
    pool = [replace(email, prediction=answer) for email, answer in zip(pool, answers, strict=False)]
    truth = {example.email_id: example.label for example in gold.evaluation} | dict.fromkeys(foreign, OUTSIDE)
    audited = [Audited(answer, truth[answer.email_id]) for answer in answers[len(pool) :]]
    known = {one.email_id: one.label for one in (*gold.train, *gold.validation, *gold.evaluation)}
    known |= dict.fromkeys(outside, OUTSIDE)
    answered = [
        Audited(email.first_prediction, known[email.email_id])
        for email in labelled
        if email.first_prediction is not None and email.email_id in known
    ]
    rules = SilverRules(
        target_precision=settings.silver_target_precision,
        error_rate=settings.silver_error_rate,
        max_per_label=settings.silver_max_per_label,
        unproven_share=settings.silver_unproven_share,
        seed=seed,
    )
    silver = collect_silver(pool, audited, labelled, gold, taxonomy, rules, answered)
    examples = [*gold.train, *silver.examples]
    train = add_hard_negatives(examples, taxonomy, model.label_vectors, settings.hard_negatives, seed)
    return Curated(train.examples, gold, silver, train.shares(), reader.labelled_without_text())


@dataclass(frozen=True, slots=True)
class _Asked:
    """An email that needs an answer of the current model, and the one that was logged, if any."""

    email_id: str
    text: str
    logged: Prediction | None


def _current_answers(
    asked: Sequence[_Asked], model: Model, taxonomy: Taxonomy, advance: Advance | None
) -> list[Prediction]:
    """One answer of the current model an email, in order; those that are logged are not given again."""
    stale = [email for email in asked if not _is_current(email.logged, model, taxonomy)]
    fresh = iter(_classify([Email(email.email_id, "", email.text) for email in stale], model, advance))
    return [
        email.logged
        if email.logged is not None and _is_current(email.logged, model, taxonomy)
        else next(fresh)
        for email in asked
    ]


def _is_current(answer: Prediction | None, model: Model, taxonomy: Taxonomy) -> bool:
    return answer is not None and (answer.model, answer.taxonomy) == (model.id, taxonomy.revision)


def _classify(emails: Sequence[Email], model: Model, advance: Advance | None) -> list[Prediction]:
    answers = []
    with ThreadPoolExecutor(model.threads, thread_name_prefix="mailroom") as threads:
        try:
            for answer in threads.map(model.classifier.classify, emails):
                answers.append(answer)
                if advance is not None:
                    advance(len(answers), len(emails))
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
    return answers
