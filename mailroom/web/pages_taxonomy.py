"""The label tree: how much mail each label gets, and how right that is, by what people judged."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from mailroom.taxonomy import Label, Taxonomy, search
from mailroom.web.auth import Caller
from mailroom.web.pages import Pages
from mailroom.workspace.summary import JudgedEmails, judged_emails

_MOST_JUDGED = 5_000
_MOST_FOUND = 100
# Larger trees are shown with their groups closed, so that the page can be taken in.
_OPEN_UP_TO = 120


@dataclass(frozen=True, slots=True)
class Row:
    """A label or a group of them; a group's counts are those of all below it.

    `right` of `answered` judged answers with this label were right; of `true` judged emails that belong here
    `found` got it.
    """

    label: Label
    depth: int
    predictions: int
    said: int
    answered: int
    right: int
    true: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A top-level label and all below it."""

    top: Row
    rows: tuple[Row, ...]


def routes(pages: Pages) -> APIRouter:
    """The route of the taxonomy's page."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")

    @router.get("/taxonomy")
    def taxonomy_page(
        request: Request,
        caller: Annotated[Caller, Depends(may)],
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        serving = pages.site.service.live.current
        workspace, taxonomy = serving.workspace, serving.taxonomy
        judged = judged_emails(workspace, _MOST_JUDGED)
        counts = _Counts(
            taxonomy, workspace.log.count_by_label(), workspace.feedback.count_by_label(), judged
        )
        found = [counts.row(label) for label in search(taxonomy, q, _MOST_FOUND)] if q.strip() else None
        return pages.render(
            request,
            caller,
            "taxonomy.html",
            taxonomy=taxonomy,
            branches=list(counts.branches()),
            found=found,
            query=q,
            judged=judged,
            total=sum(counts.predictions[label.id] for label in taxonomy.assignable),
            unused=[label for label in taxonomy.assignable if not counts.predictions[label.id]],
            opened=len(taxonomy.labels) <= _OPEN_UP_TO,
        )

    return router


class _Counts:
    """What is known of every label."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        predicted: Mapping[str, int],
        said: Mapping[str, int],
        judged: JudgedEmails,
    ) -> None:
        self._taxonomy = taxonomy
        self.predictions = self._with_groups(predicted)
        self._said = self._with_groups(said)
        pairs = judged.pairs
        self._answered = self._with_groups(Counter(prediction.label for _, prediction in pairs))
        self._true = self._with_groups(Counter(word.label for word, _ in pairs))
        self._right = self._with_groups(
            Counter(word.label for word, prediction in pairs if word.label == prediction.label)
        )
        self._depths: dict[str, int] = {}
        for label in taxonomy.labels:
            self._depths[label.id] = 0 if label.parent is None else self._depths[label.parent] + 1

    def branches(self) -> Iterator[Branch]:
        """The tree by its top-level labels, in the taxonomy's order."""
        branch: list[Row] = []
        for label in self._taxonomy.labels:
            if label.parent is None and branch:
                yield Branch(branch[0], tuple(branch))
                branch = []
            branch.append(self.row(label))
        if branch:
            yield Branch(branch[0], tuple(branch))

    def row(self, label: Label) -> Row:
        """One label's row."""
        return Row(
            label,
            self._depths[label.id],
            self.predictions[label.id],
            self._said[label.id],
            self._answered[label.id],
            self._right[label.id],
            self._true[label.id],
        )

    def _with_groups(self, counts: Mapping[str, int]) -> Counter[str]:
        """Counts by label, each label's added to those above it; of labels that the tree lost, none."""
        summed = Counter({label.id: counts.get(label.id, 0) for label in self._taxonomy.labels})
        for label in reversed(self._taxonomy.labels):
            if label.parent is not None:
                summed[label.parent] += summed[label.id]
        return summed
