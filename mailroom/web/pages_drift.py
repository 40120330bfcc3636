"""Has the mail moved, or what the models make of it: every measure against its own levels."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mailroom.evaluate.drift import Finding
from mailroom.taxonomy import Taxonomy
from mailroom.web.auth import Caller
from mailroom.web.pages import Pages
from mailroom.workspace.drift import MEASURES, SHARES, DriftRun

# A gauge ends at this many times the alarm level; the alarm so stands at two thirds of its width.
_GAUGE_END = 1.5
_WORDS = {
    "steady": "Steady",
    "watch": "Worth a look",
    "alarm": "Moved too far",
    "unknown": "Too little mail to tell",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure as texts; places on its gauge are 0…100, None where there is no size."""

    name: str
    level: str
    before: str
    now: str
    size: str
    watch: str
    alarm: str
    place: float | None
    watch_place: float
    alarm_place: float


@dataclass(frozen=True, slots=True)
class Moved:
    """A label whose share of the mail changed."""

    id: str
    name: str
    before: float
    now: float


def routes(pages: Pages) -> APIRouter:
    """The route of the drift page."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")

    @router.get("/drift")
    def drift(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        run = pages.site.drift.found()
        taxonomy = pages.site.service.live.current.taxonomy
        return pages.render(
            request,
            caller,
            "drift.html",
            run=run,
            word=_WORDS[run.drift.level] if run else "",
            measures=[_measured(finding) for finding in run.drift.findings] if run else [],
            moved=_moved(run, taxonomy) if run else [],
            settings=pages.site.service.workspace.settings.drift,
        )

    return router


def _measured(finding: Finding) -> Measured:
    end = finding.alarm * _GAUGE_END
    return Measured(
        name=MEASURES[finding.name],
        level=finding.level,
        before=_share(finding.before),
        now=_share(finding.now),
        size=_size(finding, finding.size),
        watch=_size(finding, finding.watch),
        alarm=_size(finding, finding.alarm),
        place=None if finding.size is None else 100 * min(1.0, max(0.0, finding.size / end)),
        watch_place=100 * finding.watch / end,
        alarm_place=100 / _GAUGE_END,
    )


def _moved(run: DriftRun, taxonomy: Taxonomy) -> list[Moved]:
    found = [(moved, taxonomy.get(moved.label)) for moved in run.drift.moved_labels]
    return [
        Moved(moved.label, label.name if label else moved.label, moved.before, moved.now)
        for moved, label in found
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _size(finding: Finding, value: float | None) -> str:
    if value is None:
        return "–"
    # Not "-0.0%": what is less than nothing by rounding is nothing.
    text = f"{value:.1%}" if finding.name in SHARES else f"{value:.3f}"
    return text.removeprefix("-") if not text.strip("-0.%") else text
