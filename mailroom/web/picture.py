"""What the service does now → the picture of it: boxes with live figures, for the page and for slides."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailroom.models.encoder_config import LATE_INTERACTION
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.store.snapshots import Snapshots
from mailroom.web.site import Site

_RERANKING = {
    "pairwise": "reads each pair anew",
    "one-pass": "listwise softmax over the candidates",
    LATE_INTERACTION: "late interaction, word by word",
}


@dataclass(frozen=True, slots=True)
class Box:
    """One part of the picture; `figures` are (what, how much), `href` the page about it."""

    key: str
    title: str
    note: str
    figures: tuple[tuple[str, str], ...]
    href: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure beside the picture; `good` is None where there is nothing to judge."""

    title: str
    value: str
    note: str
    href: str
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole picture at one moment."""

    boxes: Mapping[str, Box]
    measures: tuple[Measure, ...]
    model: str
    at: datetime


def picture_of(site: Site, now: datetime | None = None) -> Picture:
    """The picture as the store and this process stand."""
    summary = site.summary()
    cycles = CycleLog(site.service.workspace.database).history(limit=1)
    cycle = cycles[0] if cycles else None
    boxes = (
        *_speed_layer(site, summary),
        *_precision_layer(site, summary),
        _log(summary),
        *_loop(site, cycle),
    )
    return Picture(
        {box.key: box for box in boxes},
        _measures(site, summary),
        site.service.live.current.version,
        now or datetime.now(UTC),
    )


def _speed_layer(site: Site, summary: Mapping[str, Any]) -> tuple[Box, ...]:
    serving = site.service.live.current
    version = serving.workspace.version
    latency, predictions = summary["latency_ms"], summary["predictions"]
    labels = len(serving.taxonomy.assignable)
    top_k = min(site.service.workspace.settings.classify.top_k, labels)
    return (
        Box(
            "email",
            "Incoming email",
            "parsed, cleaned",
            (
                ("last hour", f"{predictions['last_hour']:,}"),
                ("waiting", f"{site.service.intake.waiting:,}"),
            ),
            "/log",
        ),
        Box(
            "bi_encoder",
            "Bi-encoder",
            _training(version.manifest.trained_from),
            (("p50", _ms(latency, "encode", "p50")), ("p95", _ms(latency, "encode", "p95"))),
            "/models",
        ),
        Box(
            "candidates",
            f"Top-{top_k}",
            "exact cosine, all labels",
            (("labels", f"{labels:,}"), ("p50", _ms(latency, "retrieve", "p50"))),
            "/log",
        ),
    )


def _precision_layer(site: Site, summary: Mapping[str, Any]) -> tuple[Box, ...]:
    version = site.service.live.current.workspace.version
    reranks = version.has_cross_encoder
    how = _RERANKING.get(version.cross_encoder_kind or "", "not in this version")
    latency, predictions = summary["latency_ms"], summary["predictions"]
    return (
        Box(
            "cross_encoder",
            "Cross-encoder",
            how,
            (("p50", _ms(latency, "rerank", "p50")), ("p95", _ms(latency, "rerank", "p95")))
            if reranks
            else (("decides", "retrieval"),),
            "/models",
        ),
        Box(
            "top_1",
            "Top-1",
            "softmax, margin",
            (("for review", _share(predictions["for_review_last_24_hours"], predictions["last_24_hours"])),),
            "/log?review=true",
        ),
        Box(
            "output",
            "Output",
            "one label, durable",
            (("last 24 h", f"{predictions['last_24_hours']:,}"), ("p95", _ms(latency, "total", "p95"))),
            "/log",
        ),
    )


def _log(summary: Mapping[str, Any]) -> Box:
    feedback = summary["feedback"]
    return Box(
        "log",
        "Prediction log",
        "top-K candidates, scores, margins, corrections, timestamps, versions",
        (
            ("predictions", f"{summary['predictions']['total']:,}"),
            ("words of people", f"{feedback['total']:,}"),
            ("corrections", f"{feedback['corrections']:,}"),
        ),
        "/log",
    )


def _loop(site: Site, cycle: Cycle | None) -> tuple[Box, ...]:
    learned: dict[str, int] = {}
    if cycle is not None:
        for (_, grade), count in Snapshots(site.service.workspace.database).count(cycle.id).items():
            learned[grade] = learned.get(grade, 0) + count
    engine = (("gold", f"{learned.get('gold', 0):,}"), ("silver", f"{learned.get('silver', 0):,}"))
    return (
        Box("engine", "Data engine", "silver, gold, hard negatives", engine, "/review"),
        Box(
            "train_cross",
            "Cross-encoder training",
            "listwise softmax over top-K",
            (("last cycle", _step(cycle, "cross")),),
            "/models",
        ),
        Box(
            "distil",
            "Distillation",
            "teacher → student, MNR + KL",
            (("last cycle", _step(cycle, "distil")),),
            "/models",
        ),
        Box(
            "train_bi",
            "Bi-encoder training",
            "MNR, in-batch negatives",
            (("last cycle", _step(cycle, "bi_encoder")), ("ended", _ended(cycle))),
            "/models",
        ),
    )


def _measures(site: Site, summary: Mapping[str, Any]) -> tuple[Measure, ...]:
    quality = summary["quality"]
    if quality is None:
        where = "nobody judged any yet"
        shares = [("Recall@5", "–"), ("Top-1", "–"), ("Sibling confusion", "–")]
    else:
        kind = "drawn at random" if quality["of"] == "audit" else "labelled by people"
        where = f"of {quality['emails']:,} {kind}"
        shares = [
            ("Recall@5", f"{quality['recall_at_5']:.1%}"),
            ("Top-1", f"{quality['top_1']:.1%}"),
            ("Sibling confusion", f"{quality['sibling_confusion_rate']:.1%}"),
        ]
    slow = summary["latency_ms"].get("total", {}).get("p99")
    sla = site.settings.latency_target_ms
    latency = Measure(
        "Latency p99",
        "–" if slow is None else f"{slow:.0f} ms",
        f"target {sla} ms",
        "/log",
        None if slow is None else slow <= sla,
    )
    measures = [Measure(title, value, where, "/quality") for title, value in shares]
    return (*measures, latency, _drift(site))


def _drift(site: Site) -> Measure:
    run = site.drift.latest()
    settings = site.service.workspace.settings.drift
    held_to = f"{settings.window_days} days held to {settings.reference_days}"
    if run is None or run.drift.level == "unknown":
        return Measure("Drift", "–", "too little mail yet", "/drift")
    good = {"steady": True, "alarm": False}.get(run.drift.level)
    return Measure("Drift", run.drift.level, held_to, "/drift", good)


def _step(cycle: Cycle | None, part: str) -> str:
    if cycle is None:
        return "none yet"
    taken = [result for step, result in cycle.steps.items() if part in step]
    return "done" if any("skipped" not in result for result in taken) else "left out"


def _training(trained_from: Mapping[str, Any]) -> str:
    """How the version that answers came to its encoder."""
    if not trained_from:
        return "pretrained, cold start"
    if "adapted_from" in trained_from:
        return "used to your mail's words"
    only_labels = str(trained_from.get("setup", "")).startswith("label_vectors")
    return "label vectors learned" if only_labels else "MNR-trained on your mail"


def _ended(cycle: Cycle | None) -> str:
    if cycle is None:
        return "–"
    return f"{cycle.ended_at:%Y-%m-%d}" if cycle.ended_at else "running"


def _ms(latency: Mapping[str, Any], step: str, percentile: str) -> str:
    value = latency.get(step, {}).get(percentile)
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
