"""Promotion and rollback while mail comes in: no request fails, and every answer names one version."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mailroom.errors import ModelError
from mailroom.models.registry import list_versions
from mailroom.workspace import Workspace
from mailroom.workspace.service import Service
from mailroom.workspace.versions import Versions
from tests.web.conftest import send

SECONDS = 20.0


@pytest.fixture
def store_url(url: str) -> str:
    """Every kind of database."""
    return url


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def versions(root: Path) -> list[str]:
    return list_versions(root / "models")


def test_a_promotion_answers_at_once_and_a_rollback_brings_the_old_one_back(
    client: TestClient, versions: list[str]
) -> None:
    first, second = versions
    assert send(client, 1)["model"] == first
    made = client.post(f"/v1/models/{second}/promote", json={"reason": "better"}).json()
    assert (made["version"], made["promoted_by"], made["reason"]) == (second, "local", "better")
    assert send(client, 2)["model"] == second
    assert client.post("/v1/models/rollback").json()["version"] == first
    assert send(client, 3)["model"] == first
    overview = client.get("/v1/models").json()
    assert overview["serving"]["model"] == first
    assert [row["is_current"] for row in overview["versions"]] == [True, False]
    assert [row["version"] for row in overview["history"]] == [first, second, first]


def test_an_email_keeps_the_answer_of_the_version_that_gave_it(
    client: TestClient, versions: list[str]
) -> None:
    before = send(client)
    client.post(f"/v1/models/{versions[1]}/promote")
    assert send(client)["id"] == before["id"]


@pytest.mark.parametrize("version", ["v9999-00000000", "..", "%2e%2e%2fmailroom.db", "nonsense"])
def test_an_unknown_version_is_a_problem_and_changes_nothing(
    client: TestClient, versions: list[str], version: str
) -> None:
    assert client.post(f"/v1/models/{version}/promote").status_code in (404, 405, 409)
    assert client.get("/v1/models").json()["serving"]["model"] == versions[0]


def test_nothing_to_go_back_to_is_a_problem(client: TestClient) -> None:
    assert client.post("/v1/models/rollback").status_code == 409


def test_a_version_that_cannot_be_loaded_is_not_promoted(
    client: TestClient, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Workspace) -> None:
        raise ModelError("its weights are damaged")

    monkeypatch.setattr(Workspace, "classifier", broken)
    answer = client.post(f"/v1/models/{versions[1]}/promote")
    assert (answer.status_code, answer.json()["detail"]) == (409, "its weights are damaged")
    assert [row["is_current"] for row in client.get("/v1/models").json()["versions"]] == [True, False]
    assert send(client)["model"] == versions[0]


def test_a_changed_file_is_not_promoted(client: TestClient, root: Path, versions: list[str]) -> None:
    (root / "models" / versions[1] / "note.txt").write_text("sec0nd", encoding="utf-8")
    assert client.post(f"/v1/models/{versions[1]}/promote").status_code == 409
    assert client.get("/v1/models").json()["serving"]["model"] == versions[0]


def test_a_promotion_by_another_process_is_followed(
    client: TestClient, root: Path, versions: list[str]
) -> None:
    with Workspace.open(root) as other:
        Versions(other).promote(versions[1], "ann", "by command line")
    wait_until(lambda: client.get("/v1/models").json()["serving"]["model"] == versions[1])
    assert send(client)["model"] == versions[1]


def test_a_changed_taxonomy_is_followed(client: TestClient, root: Path) -> None:
    path = root / "taxonomy.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("lost", "gone"), encoding="utf-8")
    wait_until(lambda: any(row["id"] == "gone" for row in client.get("/v1/labels").json()["labels"]))
    assert send(client)["label"] == "gone"


def test_a_broken_taxonomy_is_told_of_and_the_old_one_goes_on(
    client: TestClient, service: Service, root: Path
) -> None:
    path = root / "taxonomy.yaml"
    good = path.read_text(encoding="utf-8")
    path.write_text("labels: [", encoding="utf-8")
    wait_until(lambda: service.live.problem is not None)
    assert send(client)["label"] == "lost"
    assert "taxonomy.yaml" in client.get("/v1/models").json()["problem"]
    assert "mailroom_model_behind 1.0" in client.get("/metrics").text
    path.write_text(good, encoding="utf-8")
    wait_until(lambda: service.live.problem is None)


def test_swaps_under_load_fail_no_request_and_mix_no_answer(client: TestClient, versions: list[str]) -> None:
    done = threading.Event()
    answers: list[dict[str, object]] = []

    def load(worker: int) -> None:
        number = 0
        while not done.is_set():
            answers.append(send(client, worker * 100_000 + number))
            number += 1

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, worker) for worker in range(4)]
        try:
            for turn in range(10):
                target = versions[(turn + 1) % 2]
                assert client.post(f"/v1/models/{target}/promote").status_code == 200
        finally:
            done.set()
        for one in running:
            one.result(SECONDS)
    assert {answer["model"] for answer in answers} == set(versions)
    assert all(not answer["known"] for answer in answers)
    for answer in answers[:: max(1, len(answers) // 20)]:
        stored = client.get(f"/v1/predictions/{answer['id']}").json()
        assert (stored["model"], stored["label"]) == (answer["model"], answer["label"])
