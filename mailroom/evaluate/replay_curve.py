"""What each week of a replay reached → a picture (SVG) and a table (Markdown); neither loads anything."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 590, 24, 350
_STYLE = Markup(
    "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.top1{stroke:#0b62a8;fill:#0b62a8}"
    ".recall{stroke:#2a8a4a;fill:#2a8a4a}.curve{fill:none;stroke-width:2.5}.bound{stroke-dasharray:6 4}"
    ".refused{fill:#fff;stroke-width:2}.label{stroke:none}"
)


@dataclass(frozen=True, slots=True)
class WeekFigures:
    """One week: `week` 0 is the start. Shares 0…1; `live_top_1` is what the week's own answers were worth.

    `silver_precision` is the true one, None without silver; `labels` counts every label given so far. `why`
    is what a cycle that promoted nothing said.
    """

    week: int
    emails: int
    labels: int
    outcome: str
    version: str
    top_1: float
    recall_at_5: float
    live_top_1: float | None = None
    silver: int = 0
    silver_precision: float | None = None
    minutes: float = 0.0
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bound:
    """What the same test says of all labels at once."""

    labels: int
    top_1: float
    recall_at_5: float
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


def replay_table(weeks: Sequence[WeekFigures], all_labels: Bound | None) -> str:
    """A Markdown table, a row a week, and the bound below."""
    lines = [
        "| week | emails | labels so far | cycle | top-1 | Recall@5 | that week's answers | silver | "
        "silver right | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for week in weeks:
        cells = (
            "start" if week.week == 0 else str(week.week),
            f"{week.emails:,}",
            f"{week.labels:,}",
            week.outcome.replace("_", " "),
            f"{week.top_1:.1%}",
            f"{week.recall_at_5:.1%}",
            _share(week.live_top_1),
            f"{week.silver:,}",
            _share(week.silver_precision),
            f"{week.minutes:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    if all_labels is not None:
        lines.append(
            f"| all labels at once | | {all_labels.labels:,} | | {all_labels.top_1:.1%} | "
            f"{all_labels.recall_at_5:.1%} | | | | {all_labels.minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def replay_svg(weeks: Sequence[WeekFigures], all_labels: Bound | None, title: str) -> str:
    """Top-1 and Recall@5 over the weeks; dashed is all labels at once; a hollow dot was not promoted."""
    shares = [share for week in weeks for share in (week.top_1, week.recall_at_5)]
    floor = max(0, int(min(shares) * 10) - 1) / 10
    last = max(1, weeks[-1].week)

    def place(week: int, share: float) -> tuple[float, float]:
        x = _LEFT + (_RIGHT - _LEFT) * week / last
        return x, _BOTTOM - (share - floor) / (1 - floor) * (_BOTTOM - _TOP)

    parts = [_text(_LEFT, 14, title)]
    for tenth in range(round(floor * 10), 11):
        y = place(0, tenth / 10)[1]
        parts += [_line("grid", _LEFT, y, _RIGHT, y), _text(_LEFT - 8, y + 4, f"{tenth * 10}%", "end")]
    for week in weeks:
        x = place(week.week, floor)[0]
        parts.append(_text(x, _BOTTOM + 18, "start" if week.week == 0 else str(week.week), "middle"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 38, "weeks", "middle"))
    for kind, name in (("recall", "Recall@5"), ("top1", "top-1")):
        values = [week.recall_at_5 if kind == "recall" else week.top_1 for week in weeks]
        spots = [place(week.week, value) for week, value in zip(weeks, values, strict=True)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(Markup('<polyline class="curve {}" points="{}"/>').format(kind, points))
        for (x, y), week, value in zip(spots, weeks, values, strict=True):
            parts.append(_dot(kind, week, x, y, f"week {week.week}: {name} {value:.1%}, {week.outcome}"))
        parts.append(_text(_RIGHT + 10, spots[-1][1] + 4, f"{name} {values[-1]:.1%}", kind=f"label {kind}"))
        if all_labels is not None:
            bound = all_labels.recall_at_5 if kind == "recall" else all_labels.top_1
            y = place(0, bound)[1]
            parts.append(_line(f"bound {kind}", _LEFT, y, _RIGHT, y))
    if all_labels is not None:
        parts.append(_text(_RIGHT, _BOTTOM + 38, f"dashed: all {all_labels.labels:,} labels at once", "end"))
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        "<style>{}</style>"
    ).format(_WIDTH, _HEIGHT, title, _STYLE)
    return str(head + Markup("").join(parts) + Markup("</svg>\n"))


def _dot(kind: str, week: WeekFigures, x: float, y: float, words: str) -> Markup:
    hollow = "refused" if week.week and week.outcome != "promoted" else ""
    return Markup('<circle class="{} {}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>').format(
        kind, hollow, x, y, words
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "axis") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, escape(words)
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
