"""Raw messages from many callers at once → answers that are durable: what the service runs.

Threads read and classify side by side; one more thread commits whatever has been decided since its last
commit, so that a lone email waits for nobody and many share one commit. An answer is handed out after its
commit. An email is known by its id: who sends it again, now or later, gets the answer that it has.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mailroom.config import Settings
from mailroom.errors import BusyError, DeadlineError, MailroomError, StoreError
from mailroom.mail.read import read_email
from mailroom.mail.sources import Message
from mailroom.records import Aside, Email, Prediction
from mailroom.store.prediction_log import LogEntry, PredictionLog, distinct_id
from mailroom.workspace.live_model import LiveModel

# One commit takes a batch at most this long, whatever the settings allow: its emails wait for all of it.
_MOST_A_COMMIT = 256
# Seconds of one thread for an email, supposed before any was answered.
_SUPPOSED_S = 0.05
# The share of the newest email in the running mean of seconds an email.
_NEWEST_SHARE = 0.05
# The share of its deadline that an email may spend waiting by that mean: some emails take longer than it, and
# a promotion or a neighbour may take the processor meanwhile.
_SAFE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """The prediction for one message, committed; `known` where the email had it before."""

    prediction: Prediction
    known: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waited:
    """Where the time of one answer went, in milliseconds: before a thread took it, and for its commit."""

    queue_ms: float
    commit_ms: float
    total_ms: float


Observe = Callable[[Answer, Waited], None]


@dataclass(slots=True)
class _Job:
    message: Message
    deadline: float
    taken_at: float
    answer: Future[Answer] = field(default_factory=Future)
    started_at: float = 0.0
    decided_at: float = 0.0
    email: Email | None = None
    warnings: tuple[str, ...] = ()
    asides: tuple[Aside, ...] = ()
    # Jobs that brought the same email while this one was under way; they get its answer.
    same: "list[_Job]" = field(default_factory=list)


class Intake:
    """Answers messages until it is closed; safe to share between threads."""

    def __init__(self, live: LiveModel, log: PredictionLog, settings: Settings, threads: int) -> None:
        self._live, self._log, self._settings = live, log, settings
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._decided: queue.SimpleQueue[tuple[_Job, Prediction] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._closed = False
        self._under_way: dict[str, _Job] = {}
        # Of the service as a whole, commits included, while it has emails waiting.
        self._seconds_an_email = _SUPPOSED_S / threads
        self._committed_at: float | None = None
        self._observers: list[Observe] = []
        self._workers = [
            threading.Thread(target=self._work, name=f"mailroom-answer-{number}", daemon=True)
            for number in range(threads)
        ]
        self._committer = threading.Thread(target=self._commit_all, name="mailroom-commit", daemon=True)
        for thread in (*self._workers, self._committer):
            thread.start()

    @property
    def waiting(self) -> int:
        """Emails taken and not yet answered."""
        return self._waiting

    def observe(self, observer: Observe) -> None:
        """Have every answer reported as it is handed out; `observer` must not raise."""
        self._observers.append(observer)

    def submit(self, message: Message, within_s: float) -> "Future[Answer]":
        """Take one message; the future ends with its Answer or a MailroomError.

        BusyError where `serve.max_waiting_emails` are waiting already, or so many that this one's turn would
        come too late: then nothing was taken. The future ends with DeadlineError where no thread came to the
        message `within_s` seconds all the same.
        """
        now = time.monotonic()
        job = _Job(message, now + within_s, now)
        with self._lock:
            most = min(self._settings.serve.max_waiting_emails, self._most_within(within_s))
            if self._closed or self._waiting >= most:
                raise BusyError(
                    f"{self._waiting} emails are waiting for their answer, and {most:.0f} is the limit now; "
                    "send it again later",
                    self._retry_after_s(),
                )
            self._waiting += 1
        self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """Answer what was taken, then end; no message is taken any more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for _ in self._workers:
            self._jobs.put(None)
        for worker in self._workers:
            worker.join()
        self._decided.put(None)
        self._committer.join()

    def _most_within(self, seconds: float) -> float:
        """How many emails may wait so that the last of them is still answered in time, at the pace of now."""
        return max(1.0, _SAFE_SHARE * seconds / self._seconds_an_email)

    def _retry_after_s(self) -> int:
        """When about half of what waits now will have been answered."""
        return max(1, round(self._waiting * self._seconds_an_email / 2))

    def _keep_pace(self, answered: int) -> None:
        """Learn the pace from a commit, where emails have been waiting ever since the one before."""
        now = time.monotonic()
        if self._committed_at is not None:
            share = 1 - (1 - _NEWEST_SHARE) ** answered
            self._seconds_an_email += share * ((now - self._committed_at) / answered - self._seconds_an_email)
        self._committed_at = now if self._waiting else None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.started_at = time.monotonic()
            if not job.answer.set_running_or_notify_cancel():
                self._end()
                continue
            try:
                self._answer(job)
            except MailroomError as exc:
                self._fail(job, exc)
            except Exception as exc:  # noqa: BLE001 - the thread must live on, and the caller must hear of it
                self._fail(job, exc)

    def _answer(self, job: _Job) -> None:
        if time.monotonic() >= job.deadline:
            raise DeadlineError("the email waited longer than its deadline; send it again later")
        read = read_email(job.message, self._settings.mail)
        job.warnings, job.asides = read.warnings, read.asides
        if not self._claim(job, read.email) or job.email is None:
            return
        prediction = self._live.current.classifier.classify(job.email)
        job.decided_at = time.monotonic()
        self._decided.put((job, prediction))

    def _claim(self, job: _Job, email: Email) -> bool:
        """Put the email in this job's hands, under its own id or a distinct one.

        False where that is not needed: it has an answer, or another job has it in hand and answers both.
        """
        other = replace(email, id=distinct_id(email))
        for candidate in (email, other):
            with self._lock:
                owner = self._under_way.get(candidate.id)
                if owner is not None and owner.email is not None:
                    if owner.email.content_sha256 == email.content_sha256:
                        owner.same.append(job)
                        return False
                    continue
                job.email = candidate
                self._under_way[candidate.id] = job
            # Looked up only now: an answer that was committed before the claim is in the log for sure.
            stored = self._log.known([candidate.id]).get(candidate.id)
            if stored is None or stored.content_sha256 == email.content_sha256:
                return not (stored is not None and stored.predicted and self._hand_out_known(job, candidate))
            with self._lock:
                del self._under_way[candidate.id]  # jobs that wait for its answer stay with this one
        raise StoreError(f"expected one content for email {other.id!r}, got a second one")

    def _hand_out_known(self, job: _Job, email: Email) -> bool:
        prediction = self._log.latest_for(email.id)
        if prediction is None:
            return False
        self._finish(job, prediction, known=True)
        return True

    def _commit_all(self) -> None:
        most = min(self._settings.store.commit_every_predictions, _MOST_A_COMMIT)
        while (first := self._decided.get()) is not None:
            batch, ended = [first], False
            with suppress(queue.Empty):
                while len(batch) < most and not ended:
                    following = self._decided.get_nowait()
                    ended = following is None
                    if following is not None:
                        batch.append(following)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[tuple[_Job, Prediction]]) -> None:
        entries = [
            LogEntry(prediction, job.email, job.message.origin, job.asides)
            for job, prediction in batch
            if job.email is not None
        ]
        try:
            answers = self._log.append_once(entries)
        except Exception as exc:  # noqa: BLE001 - the thread must live on, and every caller must hear of it
            if len(batch) > 1:
                # One entry that cannot be written must not cost the others their answer.
                for one in batch:
                    self._commit([one])
                return
            self._fail(batch[0][0], exc)
            return
        for (job, prediction), answer in zip(batch, answers, strict=True):
            self._finish(job, answer, known=answer.id != prediction.id)
        self._keep_pace(len(batch))

    def _finish(self, job: _Job, prediction: Prediction, known: bool) -> None:
        """Hand the answer to every job that brought the email."""
        done = time.monotonic()
        for each, is_known in [(job, known), *((other, True) for other in self._release(job))]:
            answer = Answer(prediction, is_known, each.warnings)
            waited = Waited(
                queue_ms=(each.started_at - each.taken_at) * 1000,
                commit_ms=(done - job.decided_at) * 1000 if job.decided_at else 0.0,
                total_ms=(done - each.taken_at) * 1000,
            )
            self._end()
            each.answer.set_result(answer)
            for observer in self._observers:
                observer(answer, waited)

    def _fail(self, job: _Job, error: Exception) -> None:
        for each in [job, *self._release(job)]:
            self._end()
            each.answer.set_exception(error)

    def _release(self, job: _Job) -> "list[_Job]":
        """Take the email out of the job's hands; returns the jobs that waited for its answer."""
        with self._lock:
            if job.email is not None and self._under_way.get(job.email.id) is job:
                del self._under_way[job.email.id]
            same, job.same = job.same, []
            return same

    def _end(self) -> None:
        with self._lock:
            self._waiting -= 1
