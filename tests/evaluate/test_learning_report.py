"""The cycle's report: complete, self-contained, escaped, and whole where there is little to show."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from mailroom.evaluate import plots
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.calibration import ReliabilityBin
from mailroom.evaluate.compare import compare
from mailroom.evaluate.drift import measure_drift
from mailroom.evaluate.gate import Contender, judge
from mailroom.evaluate.learning_report import (
    EXCERPT_CHARS,
    CyclePoint,
    Heading,
    LearningReport,
    excerpt,
    learning_report,
)
from mailroom.evaluate.metrics import Confusion
from mailroom.evaluate.render import MOST, render_html, render_text
from tests.evaluate.simulated import World, answer, are_siblings
from tests.evaluate.test_drift import window

HOSTILE = '<script>alert("x")</script>\'"&'
HEADING = Heading(
    "Desk",
    "c7",
    datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
    "v0001-aaaaaaaa",
    "v0002-bbbbbbbb",
    "retrieval",
)
CURVE = (
    CyclePoint("w1", "v2", "promoted", 100, 50, 0.70, 0.90),
    CyclePoint("w2", "v3", "refused", 120, 90, 0.65, 0.91),
)


def made(world: World, texts: dict[str, str] | None = None) -> LearningReport:
    champion, challenger = world.play()
    return made_of(champion, challenger, texts)


def made_of(
    champion: list[Answer], challenger: list[Answer], texts: dict[str, str] | None = None
) -> LearningReport:
    verdict = judge(champion, [Contender("two_stage", challenger)], {}, are_siblings)
    return learning_report(
        HEADING,
        verdict,
        (champion, challenger),
        are_siblings,
        0.005,
        texts,
        curve=CURVE,
        rivals={"logistic_regression": 0.8},
        data={"gold_examples": 1234},
        drift=measure_drift(window(400, 0), window(200, 1, first_label=0.4)),
    )


class Page(HTMLParser):
    """Elements, their attributes, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle", "rect", "path"):
            assert self.open.pop() == tag


def test_the_page_loads_nothing() -> None:
    page = render_html(made(World(200, loss=-0.05, churn=0.1)))
    assert not re.search(r"https?:|@import|url\(|javascript:", page)
    for tag, attributes in Page(page).elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "base")
        assert not {"src", "href", "srcset"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)


def test_every_element_is_closed_in_order() -> None:
    for loss in (-0.1, 0.2):
        assert Page(render_html(made(World(100, loss, churn=0.3)))).open == []


def test_mail_and_labels_are_escaped() -> None:
    champion = [answer(f"{HOSTILE}{n}", "a0", "a1", "a0", HOSTILE) for n in range(60)]
    challenger = [answer(f"{HOSTILE}{n}", "a0", HOSTILE, "a0") for n in range(59)]
    challenger.append(answer(f"{HOSTILE}59", "a0", "a0", HOSTILE))
    report = made_of(champion, challenger, {f"{HOSTILE}59": HOSTILE})
    page = render_html(replace(report, heading=replace(HEADING, workspace=HOSTILE)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_confused_labels_are_escaped_within_plots() -> None:
    drawn = plots.confusions([], [Confusion(HOSTILE, HOSTILE, 3, siblings=True)])
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn


def test_a_promotion_shows_figures_gate_curve_and_changed_emails() -> None:
    report = made(World(400, loss=-0.08, churn=0.1), {f"m{n}": f"text of {n}" for n in range(400)})
    page = render_html(report)
    comparison = report.verdict.comparison
    assert comparison is not None
    assert "✓ Promoted" in page
    assert f"Won: {len(report.won)} emails" in page
    assert f"{comparison.metric('top_1').challenger.value:.1%}" in page
    for words in ("v0002-bbbbbbbb", "macro-F1", "Recall@20", "automatic at 95%", "1,234", "Drift"):
        assert words in page
    assert report.won[0].excerpt in page
    assert page.count("<svg") == 4


def test_a_refusal_shows_every_reason() -> None:
    report = made(World(400, loss=0.2, churn=0.3))
    page, text = render_html(report), render_text(report)
    assert "✗ Refused" in page
    assert "REFUSED" in text
    assert len(report.verdict.reasons) == 3
    for words in ("top-1 got worse", "Recall@5 got worse", "sibling confusion got worse"):
        assert words in page
        assert words in text


def test_without_gold_there_is_a_page_that_says_so() -> None:
    report = made_of([], [])
    assert report.champion is None
    page = render_html(report)
    assert "expected at least 30 gold emails to judge by, got 0" in page
    assert "gold emails to judge by, got 0" in render_text(report)


def test_little_gold_shows_figures_without_a_comparison() -> None:
    page = render_html(made(World(10)))
    assert "Key figures" in page
    assert "All figures" not in page


def test_the_json_form_holds_all_changed_emails_and_plain_values() -> None:
    report = made(World(2000, loss=-0.2, churn=0.5))
    assert len(report.won) > MOST
    record = json.loads(json.dumps(report.to_dict()))
    assert record["decision"] == "promoted"
    assert record["heading"]["created_at"] == "2026-03-01T08:30:00+00:00"
    assert len(record["won"]) == len(report.won)
    assert record["champion"]["calibration"]["coverage"]["wanted"] == 0.95
    assert len(render_html(report)) < 500_000


def test_text_keeps_to_lines_without_markup() -> None:
    text = render_text(made(World(300, loss=-0.05, churn=0.1)))
    assert "<" not in text
    assert "top-1" in text
    assert text.endswith("\n")


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("one\n\n two\tthree") == "one two three"
    cut = excerpt("word " * 100)
    assert len(cut) <= EXCERPT_CHARS
    assert cut.endswith("…")


def circles(drawn: str, kind: str) -> list[tuple[float, float]]:
    found = re.findall(rf'<circle class="{kind}" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    return [(float(x), float(y)) for x, y in found]


def test_a_true_probability_lies_on_the_diagonal() -> None:
    bins = [ReliabilityBin(50, share, share, 0.0, 1.0) for share in (0.2, 0.6)]
    (x1, y1), (x2, y2) = circles(plots.reliability([], bins), "dot challenger")
    assert x2 - x1 == pytest.approx(y1 - y2)
    over = plots.reliability([], [ReliabilityBin(50, 0.6, 0.4, 0.0, 1.0)])
    assert circles(over, "dot challenger")[0][1] > y2


def test_the_line_leaves_out_bins_that_hold_next_to_nothing() -> None:
    bins = [ReliabilityBin(n, stated, 0.5, 0.0, 1.0) for n, stated in ((1, 0.1), (500, 0.5), (500, 0.9))]
    drawn = plots.reliability([], bins)
    assert len(circles(drawn, "dot challenger")) == 3
    [line] = re.findall(r'<path class="curve challenger" d="([^"]*)"', drawn)
    assert len(line.split("L")) == 2


def test_better_is_to_the_right_for_every_figure() -> None:
    champion = [answer(f"m{n}", "a0", "a1", "a0") for n in range(50)]
    challenger = [answer(f"m{n}", "a0", *(("a0", "a1") if n < 25 else ("a1", "a0"))) for n in range(50)]
    drawn = plots.differences(compare(champion, challenger, are_siblings), 0.005)
    zero = float(re.findall(r'<line class="zero" x1="([\d.]+)"', drawn)[0])
    places = circles(drawn, "dot good")
    assert len(places) == 3  # top-1, macro-F1 and sibling confusion; Recall@5 stays
    assert all(x > zero for x, _ in places)
    assert circles(drawn, "dot even")[0][0] == pytest.approx(zero)


def test_a_refused_cycle_is_hollow_and_a_single_one_is_drawn() -> None:
    drawn = plots.learning_curve(CURVE)
    assert len(circles(drawn, "dot top1 promoted")) == len(circles(drawn, "dot top1 refused")) == 1
    assert len(circles(plots.learning_curve(CURVE[:1]), "dot recall promoted")) == 1
    assert "<svg" not in plots.learning_curve(())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.994, 1.0])
def test_every_share_of_a_curve_is_within_the_picture(share: float) -> None:
    drawn = plots.learning_curve([replace(CURVE[0], top_1=share, recall_at_5=1.0)])
    [(_, y)] = circles(drawn, "dot top1 promoted")
    assert 10 <= y <= 212
