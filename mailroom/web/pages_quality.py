"""How right the answers are, how far their probabilities can be believed, what that lets one automate, and
which pairs of labels are taken for each other: all of it from what people judged.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from mailroom.evaluate.calibration import ReliabilityBin, coverage_at_precision, reliability_bins
from mailroom.evaluate.intervals import wilson
from mailroom.taxonomy import Taxonomy
from mailroom.web.auth import Caller
from mailroom.web.over_time import over_time
from mailroom.web.pages import Pages
from mailroom.web.pages_pair import advice
from mailroom.workspace.summary import JudgedEmails, judged_emails, quality_of

_MOST_JUDGED = 5_000
_PAIRS = 12
# The plot's inside, in its own units; y grows downward.
_LEFT, _TOP, _SIZE = 46.0, 14.0, 260.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A label that was answered where another was right, and what may be done about it."""

    answered: str
    right: str
    answered_id: str
    right_id: str
    emails: int
    advice: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One bin of the reliability plot: where it stands, and how far its share right is certain."""

    x: float
    y: float
    high_y: float
    low_y: float
    title: str


def routes(pages: Pages) -> APIRouter:
    """The route of the quality page."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")

    @router.get("/quality")
    def quality(
        request: Request,
        caller: Annotated[Caller, Depends(may)],
        precision: Annotated[float, Query(ge=50, le=99.5)] = 95.0,
    ) -> Response:
        workspace = pages.site.service.live.current.workspace
        judged = judged_emails(workspace, _MOST_JUDGED)
        found = quality_of(judged, workspace.taxonomy)
        if found is None:
            return pages.render(request, caller, "quality.html", quality=None)
        probabilities = np.array([prediction.probability for _, prediction in judged.pairs])
        correct = np.array([word.label == prediction.label for word, prediction in judged.pairs])
        part = "_coverage.html" if request.headers.get("hx-request") else "quality.html"
        return pages.render(
            request,
            caller,
            part,
            quality=found,
            sure=wilson(int(correct.sum()), len(correct)),
            coverage=coverage_at_precision(probabilities, correct, precision / 100),
            precision=precision,
            dots=_dots(reliability_bins(probabilities, correct)),
            pairs=_pairs(judged, workspace.taxonomy),
            plot=(_LEFT, _TOP, _SIZE),
            time=over_time(workspace, judged) if part == "quality.html" else None,
        )

    return router


def _dots(bins: Sequence[ReliabilityBin]) -> list[Dot]:
    return [
        Dot(
            x=_LEFT + one.stated * _SIZE,
            y=_y(one.correct),
            high_y=_y(one.high),
            low_y=_y(one.low),
            title=f"{one.emails} emails: {one.stated:.0%} stated, {one.correct:.0%} right",
        )
        for one in bins
        if one.emails
    ]


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIZE


def _pairs(judged: JudgedEmails, taxonomy: Taxonomy) -> list[Pair]:
    counted = Counter(
        (prediction.label, word.label)
        for word, prediction in judged.pairs
        if word.label != prediction.label and not word.is_outside
    )
    return [
        Pair(
            _name(answered, taxonomy),
            _name(right, taxonomy),
            answered,
            right,
            count,
            advice(answered, right, taxonomy),
        )
        for (answered, right), count in counted.most_common(_PAIRS)
    ]


def _name(label_id: str, taxonomy: Taxonomy) -> str:
    label = taxonomy.get(label_id)
    return label.name if label is not None else label_id
