"""A file of labelled mail → weeks of it, shuffled by seed, and the truth about each email."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mailroom.config import MailSettings
from mailroom.errors import DataError, MailParseError
from mailroom.mail.read import read_email
from mailroom.mail.sources import iter_messages
from mailroom.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class Stream:
    """The weeks' files, each with rows of `id`, `subject`, `body`, and the right label by email id."""

    weeks: tuple[Path, ...]
    truth: dict[str, str]
    left_out: int


def make_stream(
    source: Path, folder: Path, weeks: int, seed: int, taxonomy: Taxonomy, limits: MailSettings
) -> Stream:
    """Write the weeks' files into `folder`; the same ones for the same source and seed.

    Rows without text or a label of the taxonomy are left out and counted. DataError where too few remain.
    """
    truth: dict[str, str] = {}
    rows: list[str] = []
    left_out = 0
    for message in iter_messages(source, limits):
        try:
            read = read_email(message, limits)
        except MailParseError:
            left_out += 1
            continue
        found = taxonomy.resolve(read.label) if read.label else None
        if found is None or not found.assignable or read.email.id in truth or not read.email.text:
            left_out += 1
            continue
        truth[read.email.id] = found.id
        row = {"id": read.email.id, "subject": read.email.subject, "body": read.email.body}
        rows.append(json.dumps(row))
    if len(rows) < weeks:
        raise DataError(
            f"{source}: expected at least a row of labelled mail a week, got {len(rows)} for {weeks} weeks"
        )
    rows = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows)).tolist()]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(weeks):
        path = folder / f"week-{number + 1:02}.jsonl"
        path.write_text("\n".join(_share(rows, number, weeks)) + "\n", encoding="utf-8")
        paths.append(path)
    return Stream(tuple(paths), truth, left_out)


def write_history(stream: Stream, path: Path) -> int:
    """All weeks in one file with their labels, as an import takes them; how many rows."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for week in stream.weeks:
            for line in week.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                file.write(json.dumps({**row, "label": stream.truth[row["id"]]}) + "\n")
                count += 1
    return count


def _share(rows: Sequence[str], number: int, weeks: int) -> Sequence[str]:
    return rows[len(rows) * number // weeks : len(rows) * (number + 1) // weeks]
