import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from mailroom.classify.stream import LOW_WATER_PER_THREAD, WINDOW_PER_THREAD, Outcome, Steps, answer
from mailroom.errors import MailParseError, ModelError
from mailroom.mail.read import ReadEmail
from mailroom.mail.sources import Message
from mailroom.records import Candidate, Email, Prediction


def message(number: int, error: str | None = None) -> Message:
    return Message(f"box#{number}", "rfc822", str(number).encode(), number, False, error)


def read(message: Message) -> ReadEmail:
    if message.error:
        raise MailParseError(message.error)
    return ReadEmail(Email(message.data.decode(), "", "text"), None, (), (), {})


def admit_all(batch: Sequence[ReadEmail]) -> list[Email | None]:
    return [item.email for item in batch]


def classify(email: Email) -> Prediction:
    # Odd ones take longer, so that the order of completion is not the order of arrival.
    time.sleep(0.002 if int(email.id) % 2 else 0)
    candidate = Candidate("a", 1.0, None, 1.0)
    return Prediction(
        email.id, email.id, "a", ("a",), 1.0, 1.0, False, (candidate,), "m", "t", "retrieval",
        datetime.now(UTC), {"total": 1.0},
    )  # fmt: skip


def run(messages: Iterator[Message], steps: Steps, threads: int = 3) -> list[Outcome]:
    return list(answer(messages, steps, threads))


def test_outcomes_come_in_the_order_of_the_messages() -> None:
    outcomes = run((message(number) for number in range(200)), Steps(read, admit_all, classify))
    assert [outcome.prediction.id for outcome in outcomes if outcome.prediction] == [
        str(number) for number in range(200)
    ]


def test_an_unreadable_message_is_an_outcome_and_the_rest_goes_on() -> None:
    messages = [message(0), message(1, "no such thing"), message(2)]
    outcomes = run(iter(messages), Steps(read, admit_all, classify))
    assert [outcome.error for outcome in outcomes] == [None, "no such thing", None]
    assert outcomes[2].prediction is not None


def test_a_fault_in_reading_costs_one_message_and_names_it() -> None:
    def faulty(item: Message) -> ReadEmail:
        if item.data == b"1":
            raise RecursionError
        return read(item)

    outcomes = run((message(number) for number in range(3)), Steps(faulty, admit_all, classify))
    assert outcomes[1].error == "box#1: could not be read (RecursionError); please report this message"
    assert [outcome.prediction is None for outcome in outcomes] == [False, True, False]


def test_an_email_that_is_not_admitted_is_skipped_in_place() -> None:
    def admit_even(batch: Sequence[ReadEmail]) -> list[Email | None]:
        return [item.email if int(item.email.id) % 2 == 0 else None for item in batch]

    outcomes = run((message(number) for number in range(9)), Steps(read, admit_even, classify))
    assert [outcome.skipped for outcome in outcomes] == [False, True] * 4 + [False]


def test_admission_comes_in_batches_in_order() -> None:
    batches: list[list[str]] = []

    def admit(batch: Sequence[ReadEmail]) -> list[Email | None]:
        batches.append([item.email.id for item in batch])
        return admit_all(batch)

    run((message(number) for number in range(300)), Steps(read, admit, classify), threads=2)
    assert [name for batch in batches for name in batch] == [str(number) for number in range(300)]
    assert len(batches) < 300


def test_a_model_error_ends_the_run() -> None:
    def broken(email: Email) -> Prediction:
        raise ModelError("damaged")

    with pytest.raises(ModelError, match="damaged"):
        run((message(number) for number in range(5)), Steps(read, admit_all, broken))


def test_no_more_than_a_window_is_ever_held() -> None:
    gate = threading.Event()
    taken = 0

    def source() -> Iterator[Message]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield message(number)

    def slow(email: Email) -> Prediction:
        gate.wait(5)
        return classify(email)

    threads = 2
    stream = answer(source(), Steps(read, admit_all, slow), threads)
    timer = threading.Timer(0.2, gate.set)
    timer.start()
    next(stream)
    assert taken <= threads * WINDOW_PER_THREAD + 1
    assert LOW_WATER_PER_THREAD < WINDOW_PER_THREAD
    stream.close()
    timer.join()


def test_closing_early_ends_the_threads() -> None:
    before = threading.active_count()
    stream = answer((message(number) for number in range(500)), Steps(read, admit_all, classify), 2)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_no_messages_give_no_outcomes() -> None:
    assert run(iter([]), Steps(read, admit_all, classify)) == []
