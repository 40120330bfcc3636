"""One cycle at a time, whoever is killed: the lock, the steps, and what each cycle learned from."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mailroom.errors import CycleBusyError, StoreError
from mailroom.records import Example
from mailroom.store import cycles as cycles_module
from mailroom.store.cycles import STALE_AFTER, CycleLog
from mailroom.store.database import Database, open_database
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.schema import cycles as cycles_table
from mailroom.store.snapshots import Snapshots
from tests.store.conftest import make_entry, make_word

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log_of_cycles(database: Database) -> CycleLog:
    return CycleLog(database)


def set_columns(database: Database, **values: object) -> None:
    with database.write() as connection:
        connection.execute(sa.update(cycles_table).values(**values))


def test_cycle_keeps_its_steps_in_order_and_ends(log_of_cycles: CycleLog) -> None:
    cycle = log_of_cycles.begin()
    assert (cycle.steps, cycle.takeovers, cycle.outcome) == ({}, 0, None)
    cycle = log_of_cycles.save_step(cycle, "curate", {"gold": 3, "shares": [0.5, 0.25]})
    cycle = log_of_cycles.save_step(cycle, "aggregate", None, model="v7")
    assert list(cycle.steps.items()) == [("curate", {"gold": 3, "shares": [0.5, 0.25]}), ("aggregate", None)]
    assert log_of_cycles.running() == cycle
    ended = log_of_cycles.finish(cycle, "promoted", "v7 answers now")
    assert (ended.outcome, ended.summary, ended.model) == ("promoted", "v7 answers now", "v7")
    assert ended.ended_at is not None
    assert log_of_cycles.running() is None
    assert log_of_cycles.get(cycle.id) == ended
    assert ended.to_dict()["steps"] == {"curate": {"gold": 3, "shares": [0.5, 0.25]}, "aggregate": None}


def test_history_is_newest_first(log_of_cycles: CycleLog) -> None:
    ids = []
    for number in range(3):
        cycle = log_of_cycles.begin()
        log_of_cycles.finish(cycle, "refused", f"number {number}")
        ids.append(cycle.id)
    assert [cycle.id for cycle in log_of_cycles.history()] == ids[::-1]
    assert [cycle.id for cycle in log_of_cycles.history(1)] == [ids[2]]


def test_second_cycle_is_refused_while_the_first_runs(log_of_cycles: CycleLog) -> None:
    first = log_of_cycles.begin()
    with pytest.raises(CycleBusyError, match=f"process {os.getpid()}"):
        log_of_cycles.begin()
    log_of_cycles.finish(first, "failed", "")
    assert log_of_cycles.begin().id != first.id


def test_cycle_of_a_dead_process_is_taken_over_with_its_steps(url: str) -> None:
    code = (
        "import sys; from mailroom.store.cycles import CycleLog\n"
        "from mailroom.store.database import open_database\n"
        "log = CycleLog(open_database(sys.argv[1])); cycle = log.begin()\n"
        "log.save_step(cycle, 'train', 17); print(cycle.id, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, url]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    cycle_id = process.stdout.readline().strip()
    with open_database(url) as database:
        log = CycleLog(database)
        with pytest.raises(CycleBusyError, match=f"process {process.pid}"):
            log.begin()
        process.kill()
        process.communicate()
        cycle = log.begin()
    assert (cycle.id, cycle.steps, cycle.takeovers) == (cycle_id, {"train": 17}, 1)


def test_own_pid_of_an_earlier_life_is_dead(database: Database, log_of_cycles: CycleLog) -> None:
    """A restarted container runs under the same host name and the same pid."""
    first = log_of_cycles.begin()
    cycles_module._OWN.discard(first.owner)
    assert log_of_cycles.begin().id == first.id


def test_other_host_is_dead_only_after_a_long_silence(database: Database, log_of_cycles: CycleLog) -> None:
    first = log_of_cycles.begin()
    set_columns(
        database, host="elsewhere", heartbeat_at=datetime.now(UTC) - STALE_AFTER + timedelta(minutes=1)
    )
    with pytest.raises(CycleBusyError, match="host elsewhere"):
        log_of_cycles.begin()
    set_columns(database, heartbeat_at=datetime.now(UTC) - STALE_AFTER)
    assert log_of_cycles.begin().id == first.id


def test_process_that_was_taken_over_can_write_nothing(database: Database, log_of_cycles: CycleLog) -> None:
    first = log_of_cycles.begin()
    set_columns(database, heartbeat_at=datetime.now(UTC) - 2 * STALE_AFTER)
    second = log_of_cycles.begin()
    for attempt in (
        lambda: log_of_cycles.save_step(first, "train", 1),
        lambda: log_of_cycles.heartbeat(first),
        lambda: log_of_cycles.finish(first, "promoted", ""),
    ):
        with pytest.raises(CycleBusyError, match="taken it over"):
            attempt()
    assert log_of_cycles.save_step(second, "train", 2).steps == {"train": 2}


def test_released_cycle_goes_on_at_once(log_of_cycles: CycleLog) -> None:
    cycle = log_of_cycles.begin()
    log_of_cycles.release(cycle)
    assert log_of_cycles.begin().id == cycle.id


def test_heartbeats_keep_a_cycle_alive(database: Database, log_of_cycles: CycleLog) -> None:
    cycle = log_of_cycles.begin()
    set_columns(database, host="elsewhere", heartbeat_at=datetime.now(UTC) - 2 * STALE_AFTER)
    with log_of_cycles.kept_alive(cycle, every_seconds=0.01):
        deadline = time.monotonic() + 10
        while True:
            found = log_of_cycles.get(cycle.id)
            assert found is not None
            if datetime.now(UTC) - found.heartbeat_at < STALE_AFTER or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        with pytest.raises(CycleBusyError):
            log_of_cycles.begin()


@pytest.mark.parametrize("result", [float("nan"), object(), {"a": {1}}])
def test_result_that_is_no_json_is_refused(log_of_cycles: CycleLog, result: object) -> None:
    cycle = log_of_cycles.begin()
    with pytest.raises(StoreError, match="as JSON values"):
        log_of_cycles.save_step(cycle, "train", result)


def test_missing_cycles_are_none(database: Database, log_of_cycles: CycleLog) -> None:
    assert log_of_cycles.get("no id") is None
    assert log_of_cycles.running() is None
    assert log_of_cycles.history() == []
    with pytest.raises(StoreError, match="unknown id 'no id'"):
        list(Snapshots(database).load("no id"))


def example(entry_number: int, label: str, **values: object) -> Example:
    fields: dict[str, object] = {"grade": "gold", "source": "review", **values}
    return Example(f"<{entry_number}@example.org>", "", label, **fields)  # type: ignore[arg-type]


def test_snapshot_tells_what_a_cycle_learned_from(
    database: Database, log: PredictionLog, log_of_cycles: CycleLog
) -> None:
    entries = [make_entry(number) for number in range(3)]
    log.append(entries)
    FeedbackLog(database).append([make_word(entries[0].email.id), make_word(entries[2].email.id, "label-2")])
    cycle, snapshots = log_of_cycles.begin(), Snapshots(database)
    gold = example(0, "label-1", negatives=("label-3", "label-9"), weight=2.0)
    silver = example(1, "label-3", grade="silver", source="margin", weight=0.25)
    kept_apart = example(2, "label-2")
    assert snapshots.save(cycle, [gold, silver]) == 2
    assert snapshots.save(cycle, [kept_apart], part="evaluation") == 1
    assert snapshots.count(cycle.id) == {
        ("train", "gold"): 1, ("train", "silver"): 1, ("evaluation", "gold"): 1
    }  # fmt: skip
    loaded = list(snapshots.load(cycle.id, "train"))
    assert [(e.email_id, e.label, e.grade, e.source, e.weight, e.negatives) for e in loaded] == [
        (e.email_id, e.label, e.grade, e.source, e.weight, e.negatives) for e in (gold, silver)
    ]
    assert {e.text for e in loaded} == {"A subject\nA body"}
    assert [e.candidates for e in loaded] == [entry.prediction.candidates for entry in entries[:2]]
    assert [e.email_id for e in snapshots.load(cycle.id)] == [entry.email.id for entry in entries]


def test_snapshot_of_a_repeated_step_replaces_the_first(
    database: Database, log: PredictionLog, log_of_cycles: CycleLog
) -> None:
    log.append([make_entry(number) for number in range(3)])
    cycle, snapshots = log_of_cycles.begin(), Snapshots(database)
    snapshots.save(cycle, [example(0, "label-1")], part="evaluation")
    snapshots.save(cycle, [example(1, "label-1"), example(2, "label-1")])
    snapshots.save(cycle, [example(2, "label-5")])
    assert [e.label for e in snapshots.load(cycle.id, "train")] == ["label-5"]
    assert [e.label for e in snapshots.load(cycle.id, "evaluation")] == ["label-1"]


def test_word_is_traced_to_the_cycles_that_learned_it(
    database: Database, log: PredictionLog, log_of_cycles: CycleLog
) -> None:
    log.append([make_entry(0), make_entry(1)])
    feedback, snapshots = FeedbackLog(database), Snapshots(database)
    old = make_word(label="label-1")
    feedback.append([old])
    first = log_of_cycles.begin()
    snapshots.save(first, [example(0, "label-1")])
    first = log_of_cycles.finish(first, "promoted", "")
    new = make_word(label="label-2", reviewer="bob", minutes=5)
    feedback.append([new])
    second = log_of_cycles.begin()
    snapshots.save(second, [example(0, "label-2", weight=3.0)])
    second = log_of_cycles.finish(second, "refused", "")
    assert [(use.cycle, use.label, use.part) for use in snapshots.uses_of(old.id)] == [
        (first, "label-1", "train")
    ]
    assert [(use.cycle, use.weight) for use in snapshots.uses_of(new.id)] == [(second, 3.0)]
    assert snapshots.uses_of("no id") == []


def test_example_of_an_unknown_email_is_refused(database: Database, log_of_cycles: CycleLog) -> None:
    cycle = log_of_cycles.begin()
    with pytest.raises(StoreError, match="unknown id"):
        Snapshots(database).save(cycle, [example(9, "label-1")])
    assert list(Snapshots(database).load(cycle.id)) == []
