"""The service as a process: it starts, ends when told, and a kill at any moment takes back no answer."""

import json
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx2 as httpx
import pytest

from mailroom.workspace import Workspace
from tests.web.conftest import Start, serve_command

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.fixture
def store_url(url: str) -> str:
    """Every kind of database."""
    return url


def until_ready(address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_signal_ends_the_service_when_what_it_took_is_answered(start: Start, root: Path) -> None:
    process, address = start()
    until_ready(address)
    answer = httpx.post(f"{address}/v1/classify", json={"id": "a@b", "subject": "Lost parcel"}).json()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "everything that was taken is answered" in said
    assert "Traceback" not in said
    with Workspace.open(root, read_only=True) as workspace:
        assert workspace.log.get(answer["id"]) is not None


def test_other_machines_are_let_in_with_keys_only(root: Path) -> None:
    command = serve_command(root, "--host", "0.0.0.0")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "mailroom keys create" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line(start: Start, root: Path) -> None:
    _, address = start()
    port = address.rpartition(":")[2]
    command = serve_command(root, "--port", port)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "cannot be listened on" in done.stderr


class Load:
    """Clients that send mail and feedback until they are stopped or the service is gone."""

    def __init__(self, address: str, round_number: int) -> None:
        self.answered: list[str] = []
        self.said: list[str] = []
        self._threads = [
            threading.Thread(target=self._send, args=(address, f"{round_number}-{worker}"))
            for worker in range(4)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(SECONDS)

    def _send(self, address: str, prefix: str) -> None:
        with httpx.Client(base_url=address, timeout=SECONDS) as client:
            for number in range(100_000):
                try:
                    email = {"id": f"{prefix}-{number}@example.org", "subject": "Lost parcel"}
                    answer = client.post("/v1/classify", json=email)
                    self.answered.append(answer.json()["id"])
                    word = {"prediction_id": self.answered[-1], "label": "late"}
                    self.said.append(client.post("/v1/feedback", json=word).json()["id"])
                except (httpx.TransportError, json.JSONDecodeError):
                    return


def kill_and_look(start: Start, root: Path, kills: int) -> None:
    moments = random.Random(7)
    answered, said = [], []
    for round_number in range(kills):
        process, address = start()
        load = Load(address, round_number)
        deadline = time.monotonic() + SECONDS
        while not load.answered and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        load.join()
        answered += load.answered
        said += load.said
    assert len(answered) >= kills
    with Workspace.open(root) as workspace:
        missing = [one for one in answered if workspace.log.get(one) is None]
        unheard = [one for one in said if workspace.feedback.get(one) is None]
        assert not missing
        assert not unheard
        emails = [row.prediction.email_id for row in workspace.log.query()]
    assert len(emails) == len(set(emails))


def test_a_kill_at_any_moment_takes_back_no_answer_and_no_feedback(start: Start, root: Path) -> None:
    kill_and_look(start, root, 3)


@pytest.mark.slow
def test_fifty_kills_take_back_no_answer_and_no_feedback(start: Start, root: Path) -> None:
    kill_and_look(start, root, 50)
