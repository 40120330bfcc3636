"""A learning report → one self-contained HTML page, or plain text.

The page loads nothing: style and plots are inside it. Whatever came from mail or labels is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailroom.evaluate import plots
from mailroom.evaluate.compare import ERRORS, MetricComparison
from mailroom.evaluate.intervals import Interval
from mailroom.evaluate.learning_report import ChangedEmail, Doubt, LearningReport, ModelFigures, ReviewMarks

# A screenful of changed emails is read; the page keeps some more folded, the JSON form all.
SHOWN, MOST = 12, 200
TEXT_SHOWN = 10
DRIFT_TONES = {"steady": "good", "watch": "warn", "alarm": "bad", "unknown": "even"}
KIND_WORDS = {
    "two_stage": "both stages",
    "retrieval": "the bi-encoder alone",
    "retrieval_alone": "the bi-encoder alone",
    "logistic_regression": "a logistic regression",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both models, as words; intervals are "" where there are none."""

    name: str
    champion: str
    challenger: str
    change: str
    tone: str
    champion_interval: str = ""
    challenger_interval: str = ""
    change_interval: str = ""


def render_html(report: LearningReport) -> str:
    """The whole page; it needs no network, and shows light or dark as its reader's system does."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mailroom.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template("report.html.j2").render(
        report=report,
        comparison=report.verdict.comparison,
        tiles=_tiles(report),
        rows=figure_rows(report),
        plots=_plots(report),
        words=KIND_WORDS,
        drift_tones=DRIFT_TONES,
        shown=SHOWN,
        most=MOST,
    )
    return page


def render_text(report: LearningReport) -> str:
    """The same for a terminal or a mail, without plots; ends in a newline."""
    heading = report.heading
    lines = [
        f"{heading.workspace}: learning cycle {heading.cycle}, {heading.created_at:%Y-%m-%d %H:%M} UTC",
        f"champion {heading.champion}, challenger {heading.challenger}, "
        f"{report.verdict.emails:,} gold emails",
        *([f"of the gold emails {report.judged_by}"] if report.judged_by else []),
        "",
        report.decision.upper(),
        *(
            f"  {'passed' if check.passed else 'FAILED'}  {check.name}: {check.reason}"
            for check in report.verdict.checks
        ),
        *([f"  stated  review: {report.review.basis}"] if report.review else []),
    ]
    rows = figure_rows(report)
    if rows:
        lines += ["", *_text_table(rows)]
    for title, changed in (("won", report.won), ("lost", report.lost)):
        if report.verdict.comparison:
            lines += ["", *_text_changed(title, changed)]
    if report.doubts:
        lines += ["", *_text_doubts(report.doubts)]
    if report.drift:
        lines += ["", f"drift: {report.drift.level}"]
        lines += [f"  {one.level:8} {one.name}" for one in report.drift.findings]
    return "\n".join(lines) + "\n"


def figure_rows(report: LearningReport) -> list[Row]:
    """Every figure side by side, with intervals where the comparison has them."""
    before, now = report.champion, report.challenger
    if before is None or now is None:
        return []
    comparison = report.verdict.comparison
    compared = {metric.name: metric for metric in comparison.metrics} if comparison else {}
    rows = [
        _row(f"Recall@{key.removeprefix('recall_at_')}", before.recall[key], value)
        for key, value in now.recall.items()
        if key not in ("recall_at_1", "recall_at_5")
    ]
    plain = {
        "top_1": ("top-1", before.recall["recall_at_1"], now.recall["recall_at_1"]),
        "recall_at_5": ("Recall@5", before.recall["recall_at_5"], now.recall["recall_at_5"]),
        "macro_f1": ("macro-F1", before.macro_f1, now.macro_f1),
        "sibling_confusion_rate": (
            "sibling confusion",
            before.sibling_confusion_rate,
            now.sibling_confusion_rate,
        ),
    }
    figures = [
        _compared_row(name, compared[key]) if key in compared else _row(name, one, other, key in ERRORS)
        for key, (name, one, other) in plain.items()
    ]
    return [*figures, *rows, *_review_rows(report.review), *_calibration_rows(before, now)]


def _review_rows(marks: ReviewMarks | None) -> list[Row]:
    if marks is None:
        return []
    one, other = marks.champion, marks.challenger
    rows = [replace(_row("marked for review", one.review_rate, other.review_rate), tone="even")]
    for name, before, now in (
        ("top-1 of what is not marked", one.unmarked_accuracy, other.unmarked_accuracy),
        ("mistakes that are marked", one.mistakes_caught, other.mistakes_caught),
    ):
        if before is None or now is None:
            first, second = ("none" if value is None else _share(value) for value in (before, now))
            rows.append(Row(name, first, second, "", "even"))
        else:
            rows.append(_row(name, before, now))
    return rows


def _calibration_rows(before: ModelFigures, now: ModelFigures) -> list[Row]:
    one, other = before.calibration, now.calibration
    return [
        _row("automatic at 95% precision", one.coverage.coverage, other.coverage.coverage),
        _row("calibration error, as stated", one.error_before, other.error_before, fewer_is_better=True),
        _row("calibration error, temperature fitted", one.error_after, other.error_after, True),
    ]


def _row(name: str, before: float, now: float, fewer_is_better: bool = False) -> Row:
    change = round(100 * (now - before), 1)
    better = -change if fewer_is_better else change
    tone = "good" if better > 0 else "bad" if better < 0 else "even"
    return Row(name, _share(before), _share(now), _points(change), tone)


def _compared_row(name: str, metric: MetricComparison) -> Row:
    sign = -1 if metric.name in ERRORS else 1
    low, high = sorted((sign * metric.difference.low, sign * metric.difference.high))
    return Row(
        name,
        _share(metric.champion.value),
        _share(metric.challenger.value),
        _points(100 * metric.difference.value),
        "good" if low > 0 else "bad" if high < 0 else "even",
        _interval(metric.champion),
        _interval(metric.challenger),
        f"{100 * metric.difference.low:+.1f} … {100 * metric.difference.high:+.1f}",
    )


def _interval(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} … {100 * interval.high:.1f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _points(change: float) -> str:
    return f"{change:+.1f}" if round(change, 1) else "±0.0"


def _tiles(report: LearningReport) -> list[dict[str, str]]:
    """The six figures that are looked at first."""
    wanted = {
        "top-1": "top-1",
        "Recall@5": "Recall@5",
        "macro-F1": "macro-F1",
        "sibling confusion": "sibling confusion",
        "automatic at 95% precision": "automatic at 95%",
        "calibration error, as stated": "calibration error",
    }
    return [
        {
            "name": wanted[row.name],
            "now": row.challenger,
            "was": row.champion,
            "change": row.change,
            "tone": row.tone,
        }
        for row in figure_rows(report)
        if row.name in wanted
    ]


def _plots(report: LearningReport) -> dict[str, Any]:
    before, now, comparison = report.champion, report.challenger, report.verdict.comparison
    made: dict[str, Any] = {"curve": plots.learning_curve(report.curve)}
    if comparison:
        made["differences"] = plots.differences(comparison, report.tolerance)
    if now:
        bins = before.calibration.bins if before else ()
        made["reliability"] = plots.reliability(bins, now.calibration.bins)
        made["confusions"] = plots.confusions(before.confusions if before else (), now.confusions)
    return made


def _text_table(rows: Sequence[Row]) -> list[str]:
    lines = [f"{'figure':38} {'champion':>9} {'challenger':>11} {'change':>8}  95% interval"]
    for row in rows:
        figures = f"{row.champion:>9} {row.challenger:>11} {row.change:>8}  {row.change_interval}"
        lines.append(f"{row.name:38} {figures}".rstrip())
    return lines


def _text_doubts(doubts: Sequence[Doubt]) -> list[str]:
    return [
        f"look at these again: {len(doubts):,} labels that all other labelled mail contradicts",
        *(
            f"  {one.email_id}: said {one.given}, looks like {one.suggested} ({one.probability:.0%})"
            for one in doubts[:TEXT_SHOWN]
        ),
        *([f"  … and {len(doubts) - TEXT_SHOWN:,} more"] if len(doubts) > TEXT_SHOWN else []),
    ]


def _text_changed(title: str, changed: Sequence[ChangedEmail]) -> list[str]:
    more = len(changed) - TEXT_SHOWN
    return [
        f"{title}: {len(changed):,} emails",
        *(
            f"  {one.side.email_id}: {one.side.truth}; champion {one.side.champion}, "
            f"challenger {one.side.challenger}"
            for one in changed[:TEXT_SHOWN]
        ),
        *([f"  … and {more:,} more"] if more > 0 else []),
    ]
