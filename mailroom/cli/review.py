"""`mailroom review`: the emails most worth a person's time, judged key by key in a terminal."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import AsJson, Context, stderr_console, to_json_line
from mailroom.cli.correct import Reviewer
from mailroom.errors import ConfigError

if TYPE_CHECKING:
    from mailroom.workspace.review import ReviewSession

LISTED = 20


def review(
    context: typer.Context,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help=f"Emails at most; {LISTED} with --json."),
    ] = None,
    reviewer: Reviewer = None,
    as_json: AsJson = False,
    take: Annotated[
        bool, typer.Option("--take", help="With --json: take them in hand, so that nobody else gets them.")
    ] = False,
) -> None:
    """Judge emails one by one: those that the model is unsure of, and some drawn at random.

    Every email shows its five likeliest labels; one key chooses. What you say is written when you judge the
    next email, so u takes the last one back. With n you say that no label fits: nothing is learned from the
    email, and it is counted as mail from outside the taxonomy. Several people may review at once. Only the
    emails drawn at random are used to estimate how right the model is; their share is `review.audit_share`.

    With --json the queue is listed for programs, and left as it is; answers come back by `feedback import`.

    Example:  mailroom review --limit 50
    """
    from mailroom.workspace.review import ReviewQueue, ReviewSession
    from mailroom.workspace.user import current_user

    if take and not as_json:
        raise typer.BadParameter("--take belongs to --json")
    settings: Context = context.obj
    name = reviewer or current_user()
    with settings.open_workspace(read_only=as_json and not take) as workspace:
        if as_json:
            queue = ReviewQueue(workspace)
            for item in queue.take(limit or LISTED, name) if take else queue.peek(limit or LISTED):
                typer.echo(to_json_line(item.to_dict()))
            return
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigError("expected a terminal; `mailroom review --json` lists the queue for programs")
        workspace.register_taxonomy()
        session = ReviewSession(workspace, name, limit)
        _run(session, workspace.taxonomy)
    _say_what_was_done(session)


def _run(session: "ReviewSession", taxonomy: Any) -> None:
    from mailroom.cli.keys import Keys
    from mailroom.cli.review_screen import ReviewScreen

    with _ended_properly(session), Keys() as keys:
        ReviewScreen(session, taxonomy, keys).run()


@contextmanager
def _ended_properly(session: "ReviewSession") -> Iterator[None]:
    """Whatever ends the session, a closed window too: the last answer is written, the rest given back."""

    def end(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except (KeyboardInterrupt, EOFError):
        pass  # q by other means
    finally:
        session.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say_what_was_done(session: "ReviewSession") -> None:
    tally = session.tally
    emails = "1 email" if tally.answered == 1 else f"{tally.answered:,} emails"
    parts = [f"{emails} judged: {tally.confirmed:,} confirmed, {tally.corrected:,} corrected"]
    if tally.outside:
        parts.append(f"{tally.outside:,} that no label fits")
    if tally.skipped:
        parts.append(f"{tally.skipped:,} skipped")
    if session.current is None and not tally.answered and not tally.skipped:
        parts = ["nothing waits for review (`mailroom classify` fills the queue)"]
    stderr_console().print(", ".join(parts), markup=False, soft_wrap=True)
