"""A workspace and mailboxes → `mailroom adapt`: its encoder adapted to that mail, or to its own."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mailroom.cycle.adapt import MOST_EMAILS, AdaptOptions, Mail, adapt, preview
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.steps import Tell
from mailroom.errors import MailParseError
from mailroom.mail.read import read_email
from mailroom.mail.sources import iter_messages
from mailroom.store.examples import ExampleReader
from mailroom.workspace.learning import desk_of
from mailroom.workspace.workspace import Workspace

ADAPTATION = "adaptation"
Sources = Sequence[Path | Literal["-"]]
# Told of mail that cannot be read, which is left out.
Problem = Callable[[str], None]


def adapt_workspace(
    workspace: Workspace, sources: Sources, options: AdaptOptions, tell: Tell, problem: Problem
) -> Outcome:
    """Adapt to the mail of `sources`; without any, to the log's unlabelled mail, the newest first."""
    mail = _mail(workspace, sources, problem)
    return adapt(desk_of(workspace), workspace.root / ADAPTATION, mail, options, tell)


def preview_adaptation(workspace: Workspace, sources: Sources, problem: Problem) -> dict[str, Any]:
    """What an adaptation would use now; the workspace stays as it is."""
    return preview(desk_of(workspace), _mail(workspace, sources, problem))


def _mail(workspace: Workspace, sources: Sources, problem: Problem) -> Mail:
    if not sources:
        reader = ExampleReader(workspace.database)
        return Mail("log", lambda: [one.text for one in reader.unlabelled(MOST_EMAILS)])
    if "-" in sources:
        # Another time it brings other mail: only the very same is the same request.
        texts = list(islice(_texts(workspace, sources, problem), MOST_EMAILS))
        return Mail(hashlib.sha256(json.dumps(texts).encode()).hexdigest(), lambda: texts)
    request = "\n".join(str(Path(source).resolve()) for source in sources)
    return Mail(request, lambda: list(islice(_texts(workspace, sources, problem), MOST_EMAILS)))


def _texts(workspace: Workspace, sources: Sources, problem: Problem) -> Iterator[str]:
    """The texts of all messages that can be read, as the models read them."""
    limits = workspace.settings.mail
    for source in sources:
        try:
            for message in iter_messages(source, limits):
                try:
                    yield read_email(message, limits).email.text
                except MailParseError as exc:
                    problem(str(exc))
        except MailParseError as exc:
            problem(str(exc))
