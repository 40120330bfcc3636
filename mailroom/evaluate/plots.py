"""Figures of a report → inline SVG without scripts or fonts; colours come from the page's style."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from mailroom.evaluate.calibration import ReliabilityBin
from mailroom.evaluate.compare import ERRORS, Comparison
from mailroom.evaluate.learning_report import CyclePoint
from mailroom.evaluate.metrics import Confusion

BARS_SHOWN = 8
LEAST_SHARE = 0.01
NAME_CHARS = 28
METRIC_WORDS = {
    "top_1": "top-1",
    "recall_at_5": "Recall@5",
    "macro_f1": "macro-F1",
    "sibling_confusion_rate": "sibling confusion",
}


def _svg(width: int, height: int, title: str, parts: Iterable[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, title, Markup("").join(parts)
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "axis") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, words
    )


def _dot(kind: str, x: float, y: float, radius: float, words: str) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
        kind, x, y, radius, words
    )


def _path(kind: str, points: Sequence[tuple[float, float]]) -> Markup:
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Markup('<path class="{}" d="M{}"/>').format(kind, steps) if len(points) > 1 else Markup("")


def _bar(kind: str, x: float, y: float, width: float, height: float, words: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">'
        "<title>{}</title></rect>"
    ).format(kind, x, y, max(width, 0.0), height, words)


def reliability(champion: Sequence[ReliabilityBin], challenger: Sequence[ReliabilityBin]) -> Markup:
    """Share right over probability stated, with intervals; on the diagonal a probability is true."""
    left, top, size = 44, 28, 260

    def place(stated: float, correct: float) -> tuple[float, float]:
        return left + stated * size, top + (1 - correct) * size

    parts = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        x, y = place(share, share)
        parts += [_line("grid", left, y, left + size, y), _line("grid", x, top, x, top + size)]
        parts += [_text(left - 6, y + 4, f"{share:.0%}", "end")]
        parts += [_text(x, top + size + 18, f"{share:.0%}", "middle")]
    parts.append(_line("diagonal", *place(0, 0), *place(1, 1)))
    for kind, bins in (("champion", champion), ("challenger", challenger)):
        most = max((one.emails for one in bins), default=1)
        # A bin of a few emails swings by chance: it has its dot, but the line leaves it out.
        held = sum(one.emails for one in bins) * LEAST_SHARE
        line = [place(one.stated, one.correct) for one in bins if one.emails >= held]
        parts.append(_path(f"curve {kind}", line))
        for one in bins:
            x, y = place(one.stated, one.correct)
            if kind == "challenger":
                parts.append(_line("whisker challenger", x, place(0, one.low)[1], x, place(0, one.high)[1]))
            words = f"{kind}: {one.stated:.0%} stated, {one.correct:.0%} right, {one.emails:,} emails"
            parts.append(_dot(f"dot {kind}", x, y, 2.5 + 4 * (one.emails / most) ** 0.5, words))
    parts.append(_text(left + size / 2, top + size + 38, "probability stated", "middle"))
    parts.append(_text(left - 38, 12, "share right"))
    return _svg(left + size + 16, top + size + 46, "Reliability", parts)


def differences(comparison: Comparison, tolerance: float) -> Markup:
    """The challenger's lead in each figure with its interval; to the right is better, whatever the figure."""
    left, right, row, top = 128, 436, 34, 26
    gains: list[tuple[str, float, float, float]] = []
    for metric in comparison.metrics:
        sign = -1 if metric.name in ERRORS else 1
        low, high = sorted((sign * metric.difference.low, sign * metric.difference.high))
        gains.append((METRIC_WORDS[metric.name], metric.gain, low, high))
    reach = max([2 * tolerance, 0.01, *(abs(end) for _, *figures in gains for end in figures)]) * 1.1

    def place(gain: float) -> float:
        return left + (right - left) * (0.5 + gain / (2 * reach))

    height = top + row * len(gains)
    band = place(tolerance) - place(-tolerance)
    parts = [_bar("band", place(-tolerance), top - 6, band, height - top + 6, f"tolerance {tolerance:.1%}")]
    parts.append(_line("zero", place(0), top - 6, place(0), height))
    for number, (name, gain, low, high) in enumerate(gains):
        y = top + row * (number + 0.5)
        kind = "good" if low > 0 else "bad" if high < 0 else "even"
        words = f"{name}: {100 * gain:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
        parts += [
            _text(0, y + 4, name, kind="label"),
            _line(f"whisker {kind}", place(low), y, place(high), y),
        ]
        parts += [_dot(f"dot {kind}", place(gain), y, 5, words)]
        parts += [_text(right + 12, y + 4, f"{100 * gain:+.1f}", kind="label figure")]
    parts += [_text(left, 12, "← worse"), _text(right, 12, "better →", "end")]
    for end in (-reach / 1.1, reach / 1.1):
        parts.append(_text(place(end), height + 14, f"{100 * end:+.1f}", "middle"))
    parts.append(_text(place(0), height + 14, "0 points", "middle"))
    return _svg(right + 54, height + 22, "Lead of the challenger", parts)


def confusions(champion: Sequence[Confusion], challenger: Sequence[Confusion]) -> Markup:
    """Bars of the most frequent confusions between siblings, champion above challenger."""
    counts = [
        {(one.truth, one.predicted): one.count for one in found if one.siblings}
        for found in (champion, challenger)
    ]
    pairs = sorted(counts[0].keys() | counts[1].keys(), key=lambda p: (-max(c.get(p, 0) for c in counts), p))[
        :BARS_SHOWN
    ]
    if not pairs:
        return Markup('<p class="quiet">No sibling was taken for another.</p>')
    most = max(c.get(pair, 0) for c in counts for pair in pairs)
    names, width, row = 420, 1060, 36
    parts = []
    for number, (truth, predicted) in enumerate(pairs):
        y = number * row
        parts.append(_text(0, y + 18, f"{cut(truth)} → {cut(predicted)}", kind="label"))
        for kind, found, below in zip(("champion", "challenger"), counts, (4, 15), strict=True):
            count = found.get((truth, predicted), 0)
            length = max((width - names - 40) * count / most, 1.5)
            words = f"{kind}: {truth} answered as {predicted}, {count:,} emails"
            parts.append(_bar(f"bar {kind}", names, y + below, length, 9, words))
            parts.append(_text(names + length + 6, y + below + 8.5, f"{count:,}", kind="small"))
    return _svg(width, row * len(pairs), "Confusions between siblings", parts)


def cut(name: str) -> str:
    """A label's name as it fits beside a bar."""
    return name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"


def learning_curve(points: Sequence[CyclePoint]) -> Markup:
    """Top-1 and Recall@5 over cycles; a hollow dot was refused."""
    if not points:
        return Markup('<p class="quiet">The curve begins with the first cycle that is judged.</p>')
    left, right, top, bottom = 44, 382, 14, 210
    lowest = min(min(point.top_1, point.recall_at_5) for point in points)
    # Gridlines at round shares, five or six at most, from below the lowest point.
    tick = next(tick for tick in (1, 2, 5, 10, 20) if lowest * 100 + 5 * tick >= 100 or tick == 20)
    floor = min(100 - tick, max(0, int(lowest * 100 / tick) * tick)) / 100
    step = (right - left) / max(len(points) - 1, 1)

    def place(number: int, share: float) -> tuple[float, float]:
        x = left + step * number if len(points) > 1 else (left + right) / 2
        return x, bottom - (share - floor) / (1 - floor) * (bottom - top)

    parts = []
    for percent in range(round(floor * 100), 101, tick):
        y = place(0, percent / 100)[1]
        parts += [_line("grid", left, y, right, y), _text(left - 6, y + 4, f"{percent}%", "end")]
    for kind, name in (("recall", "Recall@5"), ("top1", "top-1")):
        shares = [point.recall_at_5 if kind == "recall" else point.top_1 for point in points]
        spots = [place(number, share) for number, share in enumerate(shares)]
        parts.append(_path(f"curve {kind}", spots))
        for (x, y), point, share in zip(spots, points, shares, strict=True):
            words = f"{point.cycle}: {name} {share:.1%} on {point.emails:,} emails, {point.decision}"
            parts.append(_dot(f"dot {kind} {point.decision}", x, y, 4, words))
        x, y = spots[-1]
        parts.append(_text(x + 10, y + 4, f"{name} {shares[-1]:.1%}", kind=f"label {kind}"))
    every = -(-len(points) // 8)
    for number in range(0, len(points), every):
        parts.append(_text(place(number, floor)[0], bottom + 18, points[number].cycle, "middle"))
    return _svg(500, bottom + 28, "Learning curve", parts)
