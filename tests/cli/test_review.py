import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailroom.cli.review_screen import text_lines, why_asked
from mailroom.records import OUTSIDE, Feedback
from mailroom.store.review_draws import ReviewDraws
from mailroom.taxonomy import NO_LABEL
from mailroom.workspace import Workspace
from mailroom.workspace.review import ReviewQueue, ReviewSession
from tests.cli.conftest import Run, write_mailbox

TOPICS = ["refund of the money", "wrong invoice number", "lost parcel", "late parcel again", "password reset"]


def write_varied_mailbox(path: Path, count: int) -> Path:
    """Messages that do not resemble each other."""
    rows = [
        {"id": f"e{n}", "subject": f"Case {n}", "body": f"{TOPICS[n % 5]} {_words(n)}"} for n in range(count)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _words(seed: int) -> str:
    # Letters: numbers make no difference to what an email says.
    digits = str.maketrans("0123456789", "abcdefghij")
    return " ".join(str(1_000 + (seed * 311 + place * 17) % 997).translate(digits) for place in range(15))


@pytest.fixture
def filled(run: Run, workspace: Path, tmp_path: Path) -> Path:
    run("-w", workspace, "classify", write_varied_mailbox(tmp_path / "in.jsonl", 40))
    return workspace


@pytest.fixture
def opened(filled: Path) -> Iterator[Workspace]:
    with Workspace.open(filled) as workspace:
        yield workspace


def words(workspace: Workspace) -> list[Feedback]:
    return [row.feedback for row in workspace.feedback.query()][::-1]


def test_queue_is_listed_for_programs_and_left_as_it_is(run: Run, filled: Path) -> None:
    listed = [json.loads(line) for line in run("-w", filled, "review", "--json", "-n", "10").lines]
    assert len({record["email_id"] for record in listed}) == 10
    assert [record["kind"] for record in listed].count("audit") == 1
    assert {"prediction_id", "label", "candidates", "subject", "text", "margin"} <= listed[0].keys()
    again = [json.loads(line) for line in run("-w", filled, "review", "--json", "-n", "10").lines]
    assert again == listed


def test_an_email_that_is_not_marked_is_not_called_unsure(opened: Workspace) -> None:
    item = ReviewQueue(opened).peek(1)[0]
    for marked, said in ((True, "the model is unsure"), (False, "no marked email is left")):
        prediction = replace(item.prediction, needs_review=marked, review_reasons=())
        assert why_asked(replace(item, kind="uncertain", prediction=prediction)).startswith(said)
    assert why_asked(replace(item, kind="audit")).startswith("drawn at random")
    empty = replace(item.prediction, review_reasons=("low_probability", "no_text"))
    assert why_asked(replace(item, kind="uncertain", prediction=empty)).startswith("there is no word in it")


def test_taken_emails_are_not_listed_again_and_answers_come_back_by_import(
    run: Run, filled: Path, tmp_path: Path
) -> None:
    taken = [json.loads(line) for line in run("-w", filled, "review", "--json", "--take", "-n", "10").lines]
    listed = [json.loads(line) for line in run("-w", filled, "review", "--json", "-n", "40").lines]
    ids = {record["email_id"] for record in taken}
    assert ids.isdisjoint(record["email_id"] for record in listed)
    answers = tmp_path / "answers.jsonl"
    rows = [{"prediction_id": r["prediction_id"], "label": "refund", "reviewer": "bot"} for r in taken]
    answers.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert run("-w", filled, "feedback", "import", answers, "--source", "review").code == 0
    with Workspace.open(filled, read_only=True) as workspace:
        said = {word.email_id: word.source for word in words(workspace)}
    assert said == {r["email_id"]: "audit" if r["kind"] == "audit" else "review" for r in taken}


def test_one_of_resembling_emails_is_asked_about(run: Run, workspace: Path, tmp_path: Path) -> None:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 20))
    lines = run("-w", workspace, "review", "--json").lines
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.count("uncertain") == 1


def test_answer_is_written_with_the_next_one_and_at_the_end(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    first = session.current
    assert first is not None
    session.answer(opened.taxonomy["refund"])
    assert words(opened) == []
    second = session.current
    assert second is not None
    session.answer(opened.taxonomy["lost"])
    assert [(word.email_id, word.label) for word in words(opened)] == [(first.email.id, "refund")]
    session.close()
    assert [(word.email_id, word.label, word.reviewer) for word in words(opened)] == [
        (first.email.id, "refund", "ann"),
        (second.email.id, "lost", "ann"),
    ]
    assert words(opened)[0].prediction_id == first.prediction.id


def test_last_answer_can_be_taken_back(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    first = session.current
    session.answer(opened.taxonomy["refund"])
    assert session.undo()
    assert session.current == first
    session.answer(opened.taxonomy["invoice"])
    session.close()
    assert [word.label for word in words(opened)] == ["invoice"]


def test_written_answer_is_superseded_when_one_goes_further_back(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    first = session.current
    for label in ("refund", "lost"):
        session.answer(opened.taxonomy[label])
    assert session.undo()
    assert session.undo()
    assert not session.undo()
    assert session.current == first
    assert session.earlier_answer == opened.taxonomy["refund"]
    session.answer(opened.taxonomy["password"])
    session.close()
    assert [word.label for word in words(opened)] == ["refund", "password"]


def test_skipped_email_gets_no_word_and_is_not_given_to_the_same_person_at_once(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann", limit=2)
    skipped = session.current
    assert skipped is not None
    session.skip()
    session.answer(opened.taxonomy["refund"])
    assert session.current is None
    session.close()
    assert (session.tally.skipped, session.tally.answered) == (1, 1)
    assert [word.email_id for word in words(opened)] != [skipped.email.id]
    assert skipped.email.id not in {item.email.id for item in ReviewQueue(opened).peek(40)}


def test_an_email_that_no_label_fits_waits_no_longer_and_may_be_labelled_later(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann", limit=2)
    first = session.current
    assert first is not None
    session.answer(NO_LABEL)
    session.answer(opened.taxonomy["refund"])
    assert (session.tally.outside, session.tally.answered) == (1, 2)
    session.close()
    [word] = [word for word in words(opened) if word.email_id == first.email.id]
    assert (word.label, word.wrong_label, word.is_outside) == (OUTSIDE, first.prediction.label, True)
    assert first.email.id not in {item.email.id for item in ReviewQueue(opened).peek(40)}
    assert OUTSIDE not in opened.feedback.count_by_label()


def test_emails_not_seen_are_given_back_at_the_end(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    assert ReviewDraws(opened.database).taken_by() == {"ann": 20}
    session.answer(opened.taxonomy["refund"])
    session.close()
    assert ReviewDraws(opened.database).taken_by() == {}


def test_two_people_get_different_emails(opened: Workspace) -> None:
    ann, ben = ReviewSession(opened, "ann"), ReviewSession(opened, "ben")
    seen: dict[str, set[str]] = {"ann": set(), "ben": set()}
    for session in (ann, ben):
        for _ in range(15):
            assert session.current is not None
            seen[session.reviewer].add(session.current.email.id)
            session.answer(opened.taxonomy["refund"])
    assert seen["ann"].isdisjoint(seen["ben"])


def test_session_goes_on_until_nothing_waits(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    count = 0
    while session.current is not None:
        session.answer(opened.taxonomy["refund"])
        count += 1
    session.close()
    assert count == len({word.email_id for word in words(opened)}) == 40


def test_audit_stays_an_audit_when_it_is_answered_again(opened: Workspace) -> None:
    session = ReviewSession(opened, "ann")
    while session.current is not None and session.current.kind != "audit":
        session.answer(opened.taxonomy["refund"])
    audited = session.current
    assert audited is not None
    session.answer(opened.taxonomy["refund"])
    session.skip()
    session.undo()
    session.undo()
    session.answer(opened.taxonomy["lost"])
    session.close()
    said = [word for word in words(opened) if word.email_id == audited.email.id]
    assert {word.source for word in said} == {"audit"}


def test_audit_share_is_a_setting(run: Run, filled: Path) -> None:
    file = filled / "mailroom.toml"
    toml = file.read_text(encoding="utf-8").replace("audit_share = 0.1", "audit_share = 0.5")
    file.write_text(toml, encoding="utf-8")
    kinds = [json.loads(line)["kind"] for line in run("-w", filled, "review", "--json", "-n", "10").lines]
    assert kinds.count("audit") == 5


def test_without_a_terminal_it_says_what_to_do(run: Run, filled: Path) -> None:
    result = run("-w", filled, "review")
    assert (result.code, "`mailroom review --json`" in result.err) == (1, True)
    assert run("-w", filled, "review", "--take").code == 2


def test_text_is_wrapped_without_its_subject_and_cannot_drive_the_terminal() -> None:
    text = "Case 7\n\nred \x1b[31malert " + "word " * 30 + "\n\n"
    lines = text_lines(text, "Case 7", 40)
    assert lines[0] == ""
    assert lines[1].startswith("red [31malert word")
    assert all(len(line) <= 40 and "\x1b" not in line for line in lines)
    assert lines[-1].endswith("word")


class Terminal:
    """A command on a pseudo-terminal of 100 × 32, as a person has it."""

    def __init__(self, *arguments: object) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Tests may run in the background of a shell, where interrupts are ignored; a person does not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ |= {"TERM": "xterm", "COLUMNS": "100", "LINES": "32"}
            command = [sys.executable, "-m", "mailroom", *map(str, arguments)]
            os.execvp(command[0], command)
        self.unread = ""

    def expect(self, text: str, timeout: float = 300.0) -> None:
        """Read until the text has come after what was expected before."""
        deadline = time.monotonic() + timeout
        while text not in self.unread:
            if not select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"expected {text!r}, got {self.unread!r}")
            try:
                chunk = os.read(self.fd, 65536)
            except OSError as exc:
                raise AssertionError(f"ended before {text!r} came: {self.unread!r}") from exc
            self.unread = re.sub(
                r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.unread + chunk.decode("utf-8", "replace")
            )
        self.unread = self.unread.partition(text)[2]

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self, timeout: float = 300.0) -> int:
        """Wait for the command's end; its exit code."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                if not select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    os.kill(self.pid, signal.SIGKILL)
                    raise AssertionError("expected the command to end, it goes on")
                if not os.read(self.fd, 65536):
                    break
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(filled: Path) -> Callable[..., Terminal]:
    return lambda *arguments: Terminal("-w", filled, "review", "--reviewer", "ann", *arguments)


def test_keys_choose_confirm_search_skip_and_take_back(
    filled: Path, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("-n", "5")
    screen.expect("q quit")
    screen.type("\r")
    screen.expect("1 judged, 0 corrected")
    screen.expect("q quit")
    screen.type("2")
    screen.expect("2 judged, 1 corrected")
    screen.expect("q quit")
    screen.type("u")
    screen.expect("1 judged, 0 corrected")
    screen.expect("q quit")
    screen.type("/")
    screen.expect("by any of its words")
    screen.type("passw\r")
    screen.expect("any other key goes back")
    screen.type("1")
    screen.expect("2 judged")
    screen.expect("q quit")
    screen.type("n")
    screen.expect("3 judged")
    screen.expect("q quit")
    screen.type("s")
    screen.expect("1 in hand")
    screen.expect("q quit")
    screen.type("x")
    screen.expect("no key of these: x")
    screen.type("q")
    screen.expect("3 emails judged")
    screen.expect("1 that no label fits")
    assert screen.end() == 0
    with Workspace.open(filled, read_only=True) as workspace:
        said = words(workspace)
        assert len(said) == 3
        assert (said[0].wrong_label, said[1].label, said[2].label) == (None, "password", OUTSIDE)
        assert ReviewDraws(workspace.database).taken_by() == {"ann": 1}  # what was skipped


def test_interrupt_keeps_the_last_answer(filled: Path, terminal: Callable[..., Terminal]) -> None:
    screen = terminal()
    screen.expect("q quit")
    screen.type("1")
    screen.expect("1 judged")
    screen.expect("q quit")
    screen.type("\x03")
    screen.expect("1 email judged")
    assert screen.end() == 0
    with Workspace.open(filled, read_only=True) as workspace:
        assert len(words(workspace)) == 1


def test_closed_window_keeps_the_last_answer(filled: Path, terminal: Callable[..., Terminal]) -> None:
    screen = terminal()
    screen.expect("q quit")
    screen.type("1")
    screen.expect("1 judged")
    screen.expect("q quit")
    os.kill(screen.pid, signal.SIGHUP)
    screen.end()
    with Workspace.open(filled, read_only=True) as workspace:
        assert len(words(workspace)) == 1
        assert ReviewDraws(workspace.database).taken_by() == {}


def test_nothing_to_review_is_said(workspace: Path) -> None:
    screen = Terminal("-w", workspace, "review")
    screen.expect("nothing waits for review")
    assert screen.end() == 0
