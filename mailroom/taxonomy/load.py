"""A taxonomy file → Taxonomy: recognised by content, checked as a whole, every problem with its line."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailroom.errors import TaxonomyError
from mailroom.records import OUTSIDE
from mailroom.taxonomy.drafts import Draft, DraftReader, csv_header, read_csv, walk
from mailroom.taxonomy.nodes import Node, NodeError, parse_json, parse_yaml
from mailroom.taxonomy.tree import Label, Problem, Taxonomy

# 5,000 labels with descriptions and examples are about 5 MB; whatever is far bigger is another file.
MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_ID_CHARS = 500
MAX_PROBLEMS_SHOWN = 20
_MAIL_KEYS = ("body", "subject", "text", "email_id", "prediction_id")


@dataclass(slots=True)
class _Problems:
    """The errors and warnings of one file."""

    path: Path
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, line: int | None, message: str) -> None:
        self.errors.append(Problem("error", line, message))

    def warn(self, line: int | None, message: str) -> None:
        self.warnings.append(Problem("warning", line, message))

    def raise_errors(self) -> None:
        if not self.errors:
            return
        shown = sorted(self.errors, key=lambda problem: problem.line or 0)[:MAX_PROBLEMS_SHOWN]
        lines = [format_problem(self.path, problem) for problem in shown]
        if len(self.errors) > len(shown):
            lines.append(f"{self.path}: and {len(self.errors) - len(shown)} more")
        raise TaxonomyError("\n".join(lines))


def format_problem(path: Path, problem: Problem) -> str:
    """The problem as `file:line: message`, as compilers write it and editors follow it."""
    place = f"{path}:{problem.line}" if problem.line else f"{path}"
    return f"{place}: {problem.message}"


def load_taxonomy(path: Path) -> Taxonomy:
    """Read a label tree from YAML, JSON or CSV, whichever the content is.

    TaxonomyError names file and line of every problem, 20 at most.
    """
    problems = _Problems(path)
    drafts = _read(_decode(path), problems)
    labels = _build(drafts, problems)
    return Taxonomy(labels, problems.warnings)


def _decode(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as exc:
        raise TaxonomyError(f"{path}: no such file; expected a taxonomy in YAML, JSON or CSV") from exc
    except OSError as exc:
        raise TaxonomyError(f"{path}: expected a readable taxonomy file, got: {exc.strerror}") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise TaxonomyError(
            f"{path}: expected a taxonomy of at most {MAX_FILE_BYTES // 2**20} MiB, got a bigger file; "
            "is it the right one?"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise TaxonomyError(
            f"{path}:{line}: expected UTF-8, got the byte 0x{raw[exc.start]:02x}; save the file as UTF-8"
        ) from exc
    if not text.strip():
        raise TaxonomyError(f"{path}: expected a list of labels, got an empty file")
    return text


def _is_labelled_mail(text: str) -> bool:
    """Whether the first line is a row of labelled mail, which is easily taken for the list of labels."""
    try:
        row = json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and "label" in row and not row.keys().isdisjoint(_MAIL_KEYS)


def _read(text: str, problems: _Problems) -> list[Draft]:
    if _is_labelled_mail(text):
        problems.error(
            1,
            "expected a label tree, got rows of labelled mail; name the file that lists your labels (they "
            "come first), and give this one to `mailroom feedback import` or `mailroom evaluate` later",
        )
        return []
    delimiter = csv_header(text)
    if delimiter is not None:
        return read_csv(text, delimiter, DraftReader(problems.error, strict=False), problems.error)
    try:
        node, strict = _parse(text)
    except NodeError as exc:
        problems.error(exc.line, exc.message)
        return []
    return DraftReader(problems.error, strict).read(node)


def _parse(text: str) -> tuple[Node | None, bool]:
    """The nodes of a JSON or YAML text, and whether unknown keys are mistakes (as in what people write)."""
    if text.lstrip()[0] not in "{[":
        return parse_yaml(text), True
    try:
        return parse_json(text), False
    except NodeError as not_json:
        # `{labels: [...]}` and a trailing comma are YAML; if it is neither, it was meant as JSON.
        try:
            return parse_yaml(text), True
        except NodeError:
            raise not_json from None


def _build(drafts: list[Draft], problems: _Problems) -> list[Label]:
    every = list(walk(drafts))
    known = _check_ids(every, problems)
    ancestors: dict[str, frozenset[str]] = {}
    labels = list(_labels(drafts, (), None, frozenset(), ancestors))
    for draft in every:
        _check_overlaps(draft, known, ancestors, problems)
    if not problems.errors and not any(label.assignable for label in labels):
        problems.error(None, "expected at least one assignable label, got none")
    problems.raise_errors()
    return _with_mutual_overlaps(labels)


def _labels(
    drafts: Iterable[Draft],
    path: tuple[str, ...],
    parent: str | None,
    above: frozenset[str],
    ancestors: dict[str, frozenset[str]],
) -> Iterable[Label]:
    for draft in drafts:
        here = (*path, draft.name)
        ancestors[draft.id] = above
        assignable = not draft.children if draft.assignable is None else draft.assignable
        yield Label(
            id=draft.id,
            name=draft.name,
            path=here,
            description=draft.description,
            examples=draft.examples,
            aliases=draft.aliases,
            overlaps=draft.overlaps,
            assignable=assignable,
            parent=parent,
            line=draft.line,
        )
        yield from _labels(draft.children, here, draft.id, above | {draft.id}, ancestors)


def _check_ids(drafts: list[Draft], problems: _Problems) -> dict[str, Draft]:
    known: dict[str, Draft] = {}
    for draft in drafts:
        if len(draft.id) > MAX_ID_CHARS:
            problems.error(draft.line, f"id: expected at most {MAX_ID_CHARS} characters, got {len(draft.id)}")
        if draft.id == OUTSIDE:
            problems.error(draft.line, f"id {OUTSIDE!r} stands for mail that no label fits; give it another")
        first = known.setdefault(draft.id, draft)
        # A label without an id has been reported for that.
        if first is not draft and draft.id:
            where = f" (line {first.line})" if first.line else ""
            problems.error(
                draft.line, f"id {draft.id!r} is already taken{where}; give one of the two another `id`"
            )
    return known


def _check_overlaps(
    draft: Draft, known: dict[str, Draft], ancestors: dict[str, frozenset[str]], problems: _Problems
) -> None:
    for other in draft.overlaps:
        if other not in known:
            close = difflib.get_close_matches(other, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "; expected the id of a label of this file"
            problems.error(draft.line, f"{draft.id!r} overlaps with unknown label {other!r}{hint}")
        elif other == draft.id:
            problems.error(draft.line, f"{draft.id!r} overlaps with itself; take it out of `overlaps`")
        elif other in ancestors[draft.id] or draft.id in ancestors[other]:
            problems.error(
                draft.line, f"{draft.id!r} overlaps with {other!r}, but one of them stands above the other"
            )


def _with_mutual_overlaps(labels: list[Label]) -> list[Label]:
    """Enter each overlap on both sides, in tree order: who competes with whom has no direction."""
    position = {label.id: index for index, label in enumerate(labels)}
    pairs = {label.id: set(label.overlaps) for label in labels}
    for label in labels:
        for other in label.overlaps:
            if label.id not in pairs[other]:
                pairs[other].add(label.id)
    return [
        replace(label, overlaps=tuple(sorted(pairs[label.id], key=position.__getitem__))) for label in labels
    ]
