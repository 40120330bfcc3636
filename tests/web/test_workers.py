"""Several processes on one socket: figures, promotions and the desk are one, and the dead are replaced."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from mailroom.errors import ConfigError
from mailroom.models.registry import list_versions
from mailroom.web.workers import Inherited, Keeper
from tests.web.conftest import Start

SECONDS = 60


def children(process: "subprocess.Popen[str]") -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    return [int(pid) for pid in found.split()]


def figure(address: str, name: str, label: str = "") -> float:
    """The sum of a figure over its labels, or over those lines that have one of them."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    found = [line for line in lines if re.match(rf"{name}[{{ ]", line) and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def send_many(address: str, count: int, prefix: str) -> list[str]:
    """The models that answered; a connection an email, so that every worker gets some."""
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda number: httpx.post(
                f"{address}/v1/classify",
                json={"id": f"{prefix}-{number}@x", "subject": "Lost parcel"},
                timeout=SECONDS,
            ),
            range(count),
        )
        return [answer.json()["model"] for answer in answers]


def test_several_workers_answer_on_one_socket_and_tell_their_figures_together(start: Start) -> None:
    _, address = start("--workers", "2")
    send_many(address, 40, "a")
    assert figure(address, "mailroom_answers_total") == 40
    assert figure(address, "mailroom_step_seconds_count") >= 40
    until(lambda: figure(address, "mailroom_processes") == 2)
    assert figure(address, "mailroom_waiting_emails") == 0


def test_a_promotion_reaches_every_worker(start: Start, root: Path) -> None:
    first, second = list_versions(root / "models")
    _, address = start("--workers", "2")
    assert set(send_many(address, 20, "a")) == {first}
    assert httpx.post(f"{address}/v1/models/{second}/promote").status_code == 200
    until(lambda: figure(address, "mailroom_model_info", second) == 2)
    assert set(send_many(address, 20, "b")) == {second}


def test_a_worker_that_dies_is_replaced_and_what_it_counted_stays_counted(start: Start) -> None:
    process, address = start("--workers", "2")
    send_many(address, 20, "a")
    before = children(process)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(children(process)) - set(before)) == 1)
    assert set(send_many(address, 20, "b"))
    until(lambda: figure(address, "mailroom_processes") == 2)
    assert figure(address, "mailroom_answers_total") == 40
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "another one takes its place" in said
    assert "Traceback" not in said


def test_workers_end_with_a_keeper_that_is_killed(start: Start) -> None:
    process, address = start("--workers", "2")
    left = children(process)
    process.kill()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in left))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/healthz")


def test_workers_that_cannot_get_ready_end_the_service() -> None:
    said: list[str] = []
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keeper = Keeper(command, listener, 2, said.append)
        with pytest.raises(ConfigError, match="ended with code 7 before it was ready, 3 times"):
            keeper.run(lambda: pytest.fail("nothing is ready"))
    assert len(said) <= 4


def test_a_workspace_that_cannot_answer_is_one_line(start: Start, root: Path) -> None:
    shutil.rmtree(root / "models")
    with pytest.raises(AssertionError) as caught:
        start("--workers", "2")
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_worker_inherits_comes_through_its_option() -> None:
    inherited = Inherited(3, 4, None, Path("/tmp/a folder"), 2)
    assert Inherited.from_option(inherited.to_option()) == inherited


def test_the_desk_is_one_whichever_worker_is_asked(start: Start) -> None:
    _, address = start("--workers", "2")
    send_many(address, 12, "a")
    cookies = httpx.get(f"{address}/review").cookies
    judged = []
    for _ in range(8):
        # A connection a step, so that both workers are asked.
        page = httpx.get(f"{address}/review", cookies=cookies)
        assert page.headers["content-security-policy"]
        form = dict(re.findall(r'name="(csrf_token|email_id)" value="([^"]*)"', page.text))
        judged.append(form["email_id"])
        done = httpx.post(
            f"{address}/review", data=form | {"action": "answer", "label": "late"}, cookies=cookies
        )
        assert (done.status_code, done.headers["location"]) == (303, "/review")
    assert len(set(judged)) == 8
    assert "8" in httpx.get(f"{address}/review", cookies=cookies).text
    assert httpx.post(f"{address}/review", data={"action": "x" * 70_000}).status_code == 413
