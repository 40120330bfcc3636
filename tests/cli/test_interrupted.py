"""Runs that end early: what was printed is in the log, and the next run does the rest, each email once."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run, logged_ids, write_mailbox

COUNT = 600
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    return write_mailbox(tmp_path / "many.mbox", COUNT)


def _printed(output: bytes) -> list[str]:
    return [json.loads(line)["email_id"] for line in output.splitlines() if line.endswith(b"}")]


def _stop_in_the_middle(process: "subprocess.Popen[bytes]", number: int) -> tuple[bytes, bytes]:
    # Output that nobody reads fills the pipe, so that the run cannot be over when the signal comes.
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return first + out, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_summary_and_the_rest_is_done_by_the_next(
    run: Run, start: Start, workspace: Path, mailbox: Path, number: int, code: int
) -> None:
    process = start("-w", workspace, "classify", mailbox, "--json")
    out, err = _stop_in_the_middle(process, number)
    printed = _printed(out)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert b"stopped; the same command goes on from here" in err
    assert f"{len(printed)} classified".encode() in err
    assert 0 < len(printed) < COUNT
    assert sorted(logged_ids(workspace)) == sorted(printed)
    rest = _printed(run("-w", workspace, "classify", mailbox, "--json").out.encode())
    assert sorted(printed + rest) == sorted(f"m{n}@example.org" for n in range(COUNT))


def test_after_a_kill_the_next_run_leaves_every_email_with_one_prediction(
    run: Run, start: Start, workspace: Path, mailbox: Path
) -> None:
    process = start("-w", workspace, "classify", mailbox, "--json")
    out, _ = _stop_in_the_middle(process, signal.SIGKILL)
    before = logged_ids(workspace)
    assert set(_printed(out)) <= set(before)
    assert 0 < len(before) < COUNT
    assert run("-w", workspace, "classify", mailbox).code == 0
    assert sorted(logged_ids(workspace)) == sorted(f"m{n}@example.org" for n in range(COUNT))


def test_a_second_interrupt_stops_a_run_that_waits_for_input(start: Start, workspace: Path) -> None:
    process = start("-w", workspace, "classify", "-", stdin=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()  # the notice: the classifier is loaded
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert b"Traceback" not in process.stderr.read()
