"""Two labels that are taken for each other, their emails side by side: what to sharpen, merge or declare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from mailroom.records import Feedback, Prediction
from mailroom.store.email_reader import EmailReader, StoredEmail
from mailroom.taxonomy import Label, Taxonomy
from mailroom.web.auth import Caller
from mailroom.web.pages import Pages
from mailroom.web.problems import Problem
from mailroom.workspace.summary import JudgedEmails, are_siblings, judged_emails

_MOST_JUDGED = 5_000
_EMAILS = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """One judged email; `answered` names the other label where that was answered instead."""

    email: StoredEmail
    prediction: Prediction
    answered: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """A label of the pair with emails that people say belong there, the mistaken ones first."""

    label: Label
    mistaken: int
    emails: tuple[Shown, ...]


def routes(pages: Pages) -> APIRouter:
    """The route of a pair's page."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")

    @router.get("/quality/pair")
    def pair(
        request: Request,
        caller: Annotated[Caller, Depends(may)],
        answered: Annotated[str, Query(max_length=1000)] = "",
        right: Annotated[str, Query(max_length=1000)] = "",
    ) -> Response:
        workspace = pages.site.service.live.current.workspace
        taxonomy = workspace.taxonomy
        first, second = taxonomy.get(answered), taxonomy.get(right)
        if first is None or second is None or first is second:
            raise Problem(404, "expected two labels of the taxonomy; the quality page lists the pairs")
        judged = judged_emails(workspace, _MOST_JUDGED)
        reader = EmailReader(workspace.database)
        return pages.render(
            request,
            caller,
            "pair.html",
            sides=[_side(one, other, judged, reader) for one, other in ((first, second), (second, first))],
            advice=advice(answered, right, taxonomy),
            siblings=are_siblings(answered, right, taxonomy),
        )

    return router


def advice(answered: str, right: str, taxonomy: Taxonomy) -> str:
    """What a person may do about two labels that are taken for each other."""
    first, second = taxonomy.get(answered), taxonomy.get(right)
    if first is None or second is None:
        return "one of them is retired: nothing to do"
    bare = [label.name for label in (first, second) if not label.description]
    if bare:
        return f"describe {' and '.join(bare)} in a sentence"
    if second.id in first.overlaps or first.id in second.overlaps:
        return "they overlap, as declared: say in both descriptions where one ends"
    if are_siblings(answered, right, taxonomy):
        return "siblings: sharpen what tells them apart, or merge them"
    return "sharpen the descriptions, or declare that they overlap"


def _side(label: Label, other: Label, judged: JudgedEmails, reader: EmailReader) -> Side:
    belong = [pair for pair in judged.pairs if pair[0].label == label.id]
    mistaken = [pair for pair in belong if pair[1].label == other.id]
    right = [pair for pair in belong if pair[1].label == label.id]
    chosen = [*mistaken[:_EMAILS], *right[: max(0, _EMAILS - len(mistaken))]]
    return Side(label, len(mistaken), tuple(_shown(chosen, label, other, reader)))


def _shown(
    pairs: Sequence[tuple[Feedback, Prediction]], label: Label, other: Label, reader: EmailReader
) -> list[Shown]:
    emails = reader.by_id([word.email_id for word, _ in pairs])
    return [
        Shown(
            emails[word.email_id],
            prediction,
            None if prediction.label == label.id else other.name,
        )
        for word, prediction in pairs
        if word.email_id in emails
    ]
