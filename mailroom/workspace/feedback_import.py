"""A file of labelled history → feedback; what cannot be trusted is set aside, with line and reason.

Rows are read to the end before anything is written: two that contradict each other may stand far apart.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mailroom.curate.content import content_key
from mailroom.records import Feedback, FeedbackSource
from mailroom.store.examples import ExampleReader
from mailroom.store.review_draws import ReviewDraws
from mailroom.workspace.corrections import make_word
from mailroom.workspace.feedback_claims import Claim, ClaimReader, SetAside
from mailroom.workspace.feedback_rows import FeedbackRow, read_rows
from mailroom.workspace.workspace import Workspace

Advance = Callable[[int, int], None]

# Words that share a commit: the log's other writers wait for no longer than one takes.
_WORDS_A_COMMIT = 1_000


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do: `added` words are new, `known` ones were there already."""

    rows: int = 0
    added: int = 0
    known: int = 0
    new_emails: int = 0
    corrections: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    set_aside: list[SetAside] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Rows set aside for another reason than that the same was said twice."""
        return sum(row.reason != "duplicate" for row in self.set_aside)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values; rows that were set aside by line, without their content."""
        return {
            "rows": self.rows,
            "added": self.added,
            "known": self.known,
            "new_emails": self.new_emails,
            "corrections": self.corrections,
            "labels": dict(self.labels.most_common()),
            "set_aside": [
                {"line": row.line, "reason": row.reason, "problem": row.problem} for row in self.set_aside
            ],
        }


class FeedbackImport:
    """One import into one workspace."""

    def __init__(
        self, workspace: Workspace, reviewer: str, source: FeedbackSource = "import", dry_run: bool = False
    ) -> None:
        self.report = ImportReport()
        self._feedback, self._taxonomy = workspace.feedback, workspace.taxonomy
        self._labelled = ExampleReader(workspace.database)
        self._draws = ReviewDraws(workspace.database)
        self._reader = ClaimReader(workspace, reviewer)
        self._source: FeedbackSource = source
        self._dry_run = dry_run

    def run(self, path: Path | Literal["-"], advance: Advance = lambda *_: None) -> ImportReport:
        """Read a file, set aside what cannot be trusted, and write the rest; `advance` gets bytes and rows.

        DataError where the file as a whole is unusable; then nothing is written.
        """
        claims: list[Claim] = []
        rows = read_rows(path)
        while batch := list(islice(rows, _WORDS_A_COMMIT)):
            found, refused = self._reader.read(batch)
            claims += found
            self._finish_batch(batch, refused, advance)
        claims, refused = self._reader.place(claims)
        self.report.set_aside += refused
        for batch_of_claims in _batches(self._trusted(claims)):
            self._write(batch_of_claims, str(path))
        self.report.set_aside.sort(key=lambda row: row.line)
        return self.report

    def _finish_batch(self, rows: Sequence[FeedbackRow], refused: list[SetAside], advance: Advance) -> None:
        self.report.rows += len(rows)
        self.report.set_aside += refused
        advance(rows[-1].position_bytes, self.report.rows)

    def _trusted(self, claims: list[Claim]) -> list[Claim]:
        """Claims that nothing in the file or in the store speaks against, the first of equal ones."""
        groups: dict[str, list[Claim]] = {}
        for claim in claims:
            groups.setdefault(claim.content or claim.email_id, []).append(claim)
        agreed = [claim for group in groups.values() if self._agree(group) for claim in self._distinct(group)]
        known = self._known(agreed)
        spoken = self._spoken(agreed)
        trusted = [
            claim
            for claim in agreed
            if id(claim) in known or self._agrees(claim, spoken.get(claim.content or claim.email_id, []))
        ]
        return sorted(trusted, key=_place_in_history)

    def _agree(self, group: list[Claim]) -> bool:
        if len({claim.label for claim in group}) == 1 or _is_history(group):
            return True
        for claim in group:
            other = next(other for other in group if other.label != claim.label)
            whose = "" if other.reviewer == claim.reviewer else f" by {other.reviewer}"
            problem = f"labelled {claim.label!r} here, and {other.label!r}{whose} in line {other.row.line}"
            self.report.set_aside.append(claim.refused("contradiction", f"the same text is {problem}"))
        return False

    def _distinct(self, group: list[Claim]) -> list[Claim]:
        """The claims less those that repeat another row; emails of the store each keep their own."""
        first: dict[tuple[Any, ...], Claim] = {}
        distinct = []
        # Those of the store come first: a copy of one of them is the repetition, wherever it stands.
        for claim in sorted(group, key=lambda claim: claim.email is not None):
            said = (claim.label, claim.reviewer, claim.created_at if claim.is_dated else None)
            earlier = first.get((claim.email_id, *said) if claim.email is None else said)
            if earlier is None:
                distinct.append(claim)
                first |= {(claim.email_id, *said): claim, said: first.get(said, claim)}
            else:
                problem = f"line {earlier.row.line} says the same"
                self.report.set_aside.append(claim.refused("duplicate", problem))
        return distinct

    def _known(self, claims: list[Claim]) -> set[int]:
        """The claims that the store has already, whatever was said since, by identity."""
        known: set[int] = set()
        for batch in _batches(claims):
            words = self._words(batch)
            fresh = {word.id for word in self._feedback.without_repeats(words)}
            known |= {id(claim) for claim, word in zip(batch, words, strict=True) if word.id not in fresh}
        return known

    def _spoken(self, claims: list[Claim]) -> dict[str, list[Feedback]]:
        """The words in force that a claim may not contradict, by content, or by email id where that lacks."""
        contents = {claim.content for claim in claims}
        spoken: dict[str, list[Feedback]] = {}
        for labelled in self._labelled.labelled():
            key = content_key(labelled.text, fold_numbers=False)
            if key in contents:
                spoken.setdefault(key, []).append(labelled.feedback)
        without_text = [claim.email_id for claim in claims if not claim.content]
        for email_id, word in self._feedback.latest_of(without_text).items():
            spoken.setdefault(email_id, []).append(word)
        return spoken

    def _agrees(self, claim: Claim, words: list[Feedback]) -> bool:
        """A reviewer may change their own word on an email; another's, or another email's, may not differ.

        Words whose label the taxonomy has no more bind nobody: a tree that changed wants new ones.
        """
        same = next((word for word in words if _repeats(claim, word)), None)
        if same is not None:
            problem = f"email {same.email_id[:80]} of the store has this text and this label"
            self.report.set_aside.append(claim.refused("duplicate", problem))
            return False
        against = next(
            (
                word
                for word in words
                if word.label != claim.label
                and (word.email_id, word.reviewer) != (claim.email_id, claim.reviewer)
                and (label := self._taxonomy.get(word.label)) is not None
                and label.assignable
            ),
            None,
        )
        if against is not None:
            problem = (
                f"{against.reviewer} labelled this text {against.label!r} (email {against.email_id[:80]}); "
                "`mailroom correct --email` settles it"
            )
            self.report.set_aside.append(claim.refused("contradiction", problem))
        return against is None

    def _write(self, claims: Sequence[Claim], place: str) -> None:
        words = self._words(claims)
        new = {c.email_id: (c.email, f"{place}:{c.row.line}") for c in claims if c.email is not None}
        if self._dry_run:
            fresh = self._feedback.without_repeats(words)
        else:
            fresh = self._feedback.append(words, new.values())
        self.report.new_emails += len(new)
        self.report.added += len(fresh)
        self.report.known += len(words) - len(fresh)
        self.report.corrections += sum(word.wrong_label is not None for word in fresh)
        self.report.labels.update(word.label for word in fresh)

    def _words(self, claims: Sequence[Claim]) -> list[Feedback]:
        """The claims as feedback. A review of an email that was drawn at random is an audit."""
        kinds = self._draws.kinds_of([c.email_id for c in claims]) if self._source == "review" else {}
        return [
            make_word(
                claim.email_id,
                claim.prediction,
                claim.label,
                claim.reviewer,
                "audit" if kinds.get(claim.email_id) == "audit" else self._source,
                claim.created_at,
            )
            for claim in claims
        ]


def _place_in_history(claim: Claim) -> tuple[bytes, int]:
    """Where a claim is written: emails in no order, the words on one of them in the file's.

    What judges is drawn from early labels more often than from later ones (`curate.split`): of a file that is
    sorted by label, as exports are, it would be drawn from the first labels.
    """
    return hashlib.sha256(
        (claim.content or claim.email_id).encode("utf-8", "surrogatepass")
    ).digest(), claim.row.line


def _repeats(claim: Claim, word: Feedback) -> bool:
    """True of a text that the store has as another email, labelled the same by the same person."""
    same = (word.label, word.reviewer) == (claim.label, claim.reviewer)
    return claim.email is not None and same and word.email_id != claim.email_id


def _is_history(group: list[Claim]) -> bool:
    """True of one reviewer's words on one email, each said at a time of its own: the later ones supersede."""
    whose = {(claim.email_id, claim.reviewer) for claim in group}
    times = {claim.created_at for claim in group if claim.is_dated}
    return len(whose) == 1 and len(times) == len(group)


def _batches(claims: Sequence[Claim]) -> Iterator[Sequence[Claim]]:
    for start in range(0, len(claims), _WORDS_A_COMMIT):
        yield claims[start : start + _WORDS_A_COMMIT]
