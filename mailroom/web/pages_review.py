"""The review desk: one email at a time, its candidates one key away, the whole tree behind `/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from mailroom.records import Candidate
from mailroom.taxonomy import NO_LABEL, PATH_SEPARATOR, Taxonomy, search
from mailroom.web.auth import Caller
from mailroom.web.hands import Hands
from mailroom.web.pages import Pages, read_form
from mailroom.web.problems import Problem

CHOICES = 5
_FOUND = 12
_CONFUSIONS = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A label that a reviewer may choose; `probability` is None where it was found by searching."""

    id: str
    name: str
    above: str
    description: str
    probability: float | None


def routes(pages: Pages, hands: Hands) -> APIRouter:
    """The routes of the desk."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")

    @router.get("/review")
    def review(
        request: Request,
        caller: Annotated[Caller, Depends(may)],
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        return _desk(pages, hands, request, caller, q, "")

    @router.get("/review/search")
    def find(
        request: Request,
        caller: Annotated[Caller, Depends(may)],
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        hand = hands.of(caller.name)
        item = hand.waiting[0] if hand.waiting else None
        found = _found(q, pages.site.service.live.current.taxonomy)
        return pages.render(request, caller, "_found.html", found=found, item=item, query=q)

    @router.post("/review")
    async def act(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        form = await read_form(request, caller)
        note = await run_in_threadpool(_act, pages, hands, caller.name, form)
        if request.headers.get("hx-request"):
            return await run_in_threadpool(_desk, pages, hands, request, caller, "", note)
        return RedirectResponse("/review", 303)

    return router


def _desk(pages: Pages, hands: Hands, request: Request, caller: Caller, query: str, note: str) -> Response:
    """The desk with the email in hand: the whole page, or its inside for a script."""
    hand = hands.of(caller.name)
    taxonomy = pages.site.service.live.current.taxonomy
    with hand.lock:
        item = hand.waiting[0] if hand.waiting else None
        values: dict[str, Any] = {
            "item": item,
            "choices": _choices(item.prediction.candidates, taxonomy) if item else [],
            "found": _found(query, taxonomy),
            "query": query,
            "note": note,
            "before": _name(hand.before, taxonomy) if hand.before else None,
            "can_undo": bool(hand.done),
            "left": len(hand.waiting),
            "taught": hand.taught,
            "confusions": [
                (_name(answered, taxonomy), _name(right, taxonomy), count)
                for (answered, right), count in hand.taught.confusions.most_common(_CONFUSIONS)
                if count
            ],
        }
    part = "_desk.html" if request.headers.get("hx-request") else "review.html"
    return pages.render(request, caller, part, **values)


def _act(pages: Pages, hands: Hands, reviewer: str, form: dict[str, str]) -> str:
    """Do what the form says; what to tell the reviewer, or nothing."""
    email_id, action = form.get("email_id", ""), form.get("action", "")
    try:
        if action == "skip":
            hands.skip(reviewer, email_id)
        elif action == "undo":
            hands.undo(reviewer)
        elif action == "outside":
            hands.answer(reviewer, email_id, NO_LABEL)
        elif action == "answer":
            label = pages.site.service.live.current.corrections.label(form.get("label", ""))
            hands.answer(reviewer, email_id, label)
        else:
            raise Problem(422, "expected answer, outside, skip or undo")
    except Problem as exc:
        if exc.status != 409:
            raise
        return exc.detail
    return ""


def _choices(candidates: Sequence[Candidate], taxonomy: Taxonomy) -> list[Choice]:
    """The likeliest labels that may still be given."""
    known = [(candidate, taxonomy.get(candidate.label)) for candidate in candidates]
    return [
        Choice(label.id, label.name, _above(label.path), label.description, candidate.probability)
        for candidate, label in known
        if label is not None and label.assignable
    ][:CHOICES]


def _found(query: str, taxonomy: Taxonomy) -> list[Choice]:
    return [
        Choice(label.id, label.name, _above(label.path), label.description, None)
        for label in search(taxonomy, query, _FOUND)
    ]


def _above(path: Sequence[str]) -> str:
    return PATH_SEPARATOR.join(path[:-1])


def _name(label_id: str, taxonomy: Taxonomy) -> str:
    label = NO_LABEL if label_id == NO_LABEL.id else taxonomy.get(label_id)
    return label.name if label is not None else label_id
