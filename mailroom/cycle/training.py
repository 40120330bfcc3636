"""An encoder and a cycle's examples → a fine-tuned encoder, exported and held to its int8 graph.

Label vectors behind it are drawn to unlabelled mail as those behind the champion's encoder are. Every step
keeps what it made in the cycle's folder, and goes on from a checkpoint after a kill.
"""

import importlib.util
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mailroom.cycle.desk import Desk
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Setup
from mailroom.cycle.steps import encoder_start
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.encoder_config import WEIGHTS_NAME
from mailroom.models.parity import parity
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.registry import BI_ENCODER
from mailroom.models.sources import INSTALL_TRAIN
from mailroom.records import Example
from mailroom.taxonomy import display_name

if TYPE_CHECKING:
    from mailroom.train.bi_encoder import BiEncoderResult
    from mailroom.train.loop import Progress

# What the parity gate reads: labels spread over the tree, and emails of the training part.
_GATE_LABELS, _GATE_EMAILS = 300, 100
TRAINED = "trained_bi_encoder"
# Texts that tell how long one takes; a step of training beside one reading of a text: its gradient, and the
# labels' texts that it is ranked with; of the training time, what an estimate may promise.
_TIMED, _READINGS, _ANEW_SHARE = 64, 5.0, 0.8
# What comes with the extra `train`.
_NEEDED = ("torch", "sentence_transformers")

Given = TypeVar("Given")
Report = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained and exported encoder: how it answers, the int8 gate's verdict, figures of its training."""

    setup: Setup
    parity: dict[str, Any]
    figures: dict[str, Any]


def train_bi_encoder_step(
    desk: Desk,
    work: Path,
    champion: Setup,
    parts: Parts,
    budget_s: float,
    seed: int,
    report: Report,
) -> Trained:
    """Fine-tune an encoder within `budget_s`, export it, and compare its int8 graph with fp32.

    The one that no cycle has trained yet: it knows no error of earlier champions. The champion's where there
    is no time to read all examples as often as that takes. ModelError where training breaks down.
    """
    from mailroom.train.bi_encoder import train_bi_encoder
    from mailroom.train.bi_encoder_settings import BiEncoderSettings, epochs_for
    from mailroom.train.label_texts import label_texts

    start, taught = encoder_start(desk).directory / BI_ENCODER, with_some_silver(parts.train, seed)
    budget_s = first_given(work / "bi_encoder_budget.json", budget_s)
    epochs = epochs_for(len(taught))
    kept, allowed_s = work / "bi_encoder_anew.json", _ANEW_SHARE * budget_s
    # Nothing is timed where it was before a kill, or where there is no other encoder to go on with.
    decided = kept.exists() or start == Path(champion.bi_encoder)
    in_time = decided or _seconds_of(start / WEIGHTS_NAME, taught, desk.threads) * epochs <= allowed_s
    anew = first_given(kept, in_time)
    defaults = BiEncoderSettings(text_kappa=parts.kappa)
    training = replace(defaults.training, epochs=epochs, seed=seed, threads=desk.threads)
    result = train_bi_encoder(
        (start if anew else Path(champion.bi_encoder)) / WEIGHTS_NAME,
        work / "bi_encoder_weights",
        taught,
        parts.validation,
        label_texts(desk.taxonomy),
        replace(defaults, training=training, runs=desk.settings.learning.encoder_runs),
        checkpoint_dir=work / "bi_encoder_checkpoint",
        progress=lambda progress: report(*told("training the bi-encoder", progress)),
        budget_s=budget_s,
    )
    return exported(desk, work, TRAINED, result, parts.train, report, {"anew": anew})


def _seconds_of(source: Path, examples: Sequence[Example], threads: int) -> float:
    """What an epoch on these examples takes, by how long the encoder in `source` takes to read some."""
    from mailroom.train.bi_encoder_settings import BiEncoderSettings
    from mailroom.train.text_encoder import seconds_a_text

    texts = [one.text for one in examples[:: max(1, len(examples) // _TIMED)][:_TIMED]]
    a_text = seconds_a_text(source, texts, BiEncoderSettings().max_tokens, threads)
    return len(examples) * _READINGS * a_text


def exported(
    desk: Desk,
    work: Path,
    name: str,
    result: "BiEncoderResult",
    train: Sequence[Example],
    report: Report,
    figures: Mapping[str, Any] | None = None,
) -> Trained:
    """The trained encoder as a setup of that name in `work / name`, held to its int8 graph."""
    from mailroom.models.export import export_bi_encoder

    prototypes, target = work / name / PROTOTYPES_NAME, work / name / BI_ENCODER
    shutil.rmtree(work / name, ignore_errors=True)
    prototypes.parent.mkdir()
    result.prototypes.save(prototypes)
    report("exporting the bi-encoder", 0, 0)
    export_bi_encoder(result.directory, target)
    verdict = bi_encoder_gate(desk, target, [example.text for example in train])
    setup = Setup(name, str(target), "int8" if verdict["passed"] else "fp32", str(prototypes))
    training = result.training
    known: dict[str, Any] = {"steps": training.steps, "stopped_early": training.stopped_early}
    known |= {"runs": result.runs}
    measured = {
        "start_top_1": result.start_top1,
        "validation_top_1": result.top1,
        "validation_recall_at_5": result.recall_at_5,
    }
    known |= {name: value for name, value in measured.items() if not math.isnan(value)}
    return Trained(setup, verdict, {**known, **(figures or {})})


def why_not_train(desk: Desk, gold: int, evaluation: int) -> str | None:
    """Why no encoder is trained on so many gold emails, while so many others judge; None where one can be."""
    least, judges = desk.settings.learning.train_from_gold, desk.settings.gate.min_emails
    if gold < least:
        return f"{gold:,} gold emails to train on, from {least:,} on the encoder is trained too"
    if evaluation < judges:
        return (
            f"{evaluation:,} gold emails kept to judge a trained encoder by, {judges:,} are needed; about "
            f"{_more_labels(desk, judges - evaluation):,} more labelled emails bring them"
        )
    return _missing_to_train()


def _more_labels(desk: Desk, more: int) -> int:
    share = desk.settings.learning.evaluation_share
    return math.ceil(more / share / 10) * 10 if share else more


def _missing_to_train() -> str | None:
    """What training needs and this installation lacks, and how to get it; None where all is there."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"training needs {missing[0]}; {INSTALL_TRAIN}" if missing else None


def with_some_silver(train: Sequence[Example], seed: int) -> list[Example]:
    """The gold, and at most as many silver examples, drawn with the seed; in their order.

    More silver takes longer and teaches no more: the encoder is sure of it already.
    """
    silver = [place for place, example in enumerate(train) if example.grade != "gold"]
    gold = len(train) - len(silver)
    if len(silver) <= gold:
        return list(train)
    kept = set(np.random.default_rng(seed).permutation(silver)[:gold].tolist())
    return [one for place, one in enumerate(train) if one.grade == "gold" or place in kept]


def bi_encoder_gate(desk: Desk, directory: Path, emails: Sequence[str]) -> dict[str, Any]:
    """int8 against fp32 on the labels' names and on some of the workspace's own mail."""
    labels = desk.taxonomy.assignable
    step = max(1, len(labels) // _GATE_LABELS)
    names = [display_name(label, desk.taxonomy) for label in labels[::step][:_GATE_LABELS]]
    stride = max(1, len(emails) // _GATE_EMAILS)
    fp32, int8 = (BiEncoder.load(directory, precision) for precision in ("fp32", "int8"))
    return parity(fp32, int8, names, emails[::stride][:_GATE_EMAILS]).to_dict()


def first_given(path: Path, value: Given) -> Given:
    """What the run was first given, as JSON, which a resumed one goes on with.

    Of a budget it has used a part already, and another start would be another run.
    """
    try:
        given: Given = json.loads(path.read_text(encoding="utf-8"))
        return given
    except (OSError, ValueError):
        path.write_text(json.dumps(value), encoding="utf-8")
        return value


def told(step: str, progress: "Progress") -> tuple[str, float, float]:
    """Where a training run stands, as a cycle tells it."""
    done = progress.step / max(1, progress.total_steps)
    return step, done, progress.seconds_left
