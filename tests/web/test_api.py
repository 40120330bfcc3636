"""What programs get: answers, lists, problems; all of it durable and under one schema of errors."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from mailroom.errors import BusyError
from mailroom.workspace.service import Service
from tests.web.conftest import send

MAIL = (
    b"From: Ann <ann@example.org>\r\nMessage-ID: <raw@example.org>\r\n"
    b"Subject: Lost parcel\r\n\r\nWhere is it?\r\n"
)
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
MESSAGE = {"Content-Type": "message/rfc822"}


def problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:mailroom:problem:{kind}"
    assert document["status"] == status
    assert document["title"]
    return document


def test_an_email_as_json_is_answered_and_in_the_log(client: TestClient, service: Service) -> None:
    answer = send(client)
    assert answer["label"] == "lost"
    assert answer["path"] == ["Delivery", "Lost parcel"]
    assert answer["known"] is False
    stored = service.workspace.log.get(str(answer["id"]))
    assert stored is not None
    assert stored.model == answer["model"] == service.live.current.version


def test_a_raw_message_is_read_as_mail(client: TestClient) -> None:
    answer = client.post("/v1/classify", content=MAIL, headers=MESSAGE).json()
    assert answer["email_id"] == "raw@example.org"
    assert answer["label"] == "lost"


def test_what_is_no_mail_is_refused_in_the_words_of_the_command_line(
    client: TestClient, service: Service
) -> None:
    refused = client.post("/v1/classify", content=b"%PDF-1.7 and so on", headers=MESSAGE)
    assert refused.json()["detail"] == "expected mail, got a PDF document; give the message it came with"
    assert service.workspace.log.count() == 0


def test_the_same_email_has_the_same_answer_whatever_the_order_of_its_keys(client: TestClient) -> None:
    one = client.post("/v1/classify", content=b'{"subject": "Lost", "body": "parcel"}', headers=JSON).json()
    other = client.post("/v1/classify", content=b'{"body":"parcel","subject":"Lost"}', headers=JSON).json()
    assert (one["id"], other["known"]) == (other["id"], True)


@pytest.mark.parametrize(
    ("content", "headers", "status", "kind"),
    [
        (b"{", JSON, 422, "invalid"),
        (b"[]", JSON, 422, "invalid"),
        (b"{}", JSON, 422, "invalid"),
        (b"", JSON, 422, "invalid"),
        (b'{"subject": 3}', JSON, 422, "invalid"),
        (b'{"subject": null}', JSON, 422, "invalid"),
        (b'{"subject": "a", "received_at": 0}', JSON, 422, "invalid"),
        (b'{"subject": "a", "subjekt": "b"}', JSON, 422, "invalid"),
        (b'{"subject": "a", "metadata": []}', JSON, 422, "invalid"),
        (b"\xff\xfe", JSON, 422, "invalid"),
        (b'{"subject": "\\ud800"}', JSON, 422, "invalid"),
        (b'{"a":' * 5000, JSON, 413, "too-large"),
        (b'{"subject": "' + b"a" * 5000 + b'"}', JSON, 413, "too-large"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b"  ", MESSAGE, 422, "unreadable-mail"),
        (b"\x89PNG\r\n\x1a\n" + b"aaaa", MESSAGE, 422, "unreadable-mail"),
        (bytes(range(256)) * 4, MESSAGE, 422, "unreadable-mail"),
    ],
)
def test_a_body_that_cannot_be_used_is_a_problem_that_does_not_repeat_it(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = client.post("/v1/classify", content=content, headers=headers)
    assert "subjekt" in answer.text or b"aaaa" not in answer.content
    problem(answer, status, kind)


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(client: TestClient) -> None:
    answer = client.post("/v1/classify", content=iter([b"a" * 1000] * 10), headers=JSON)
    problem(answer, 413, "too-large")


@pytest.mark.parametrize(
    "text", ["\x00\x01", "🎈" * 50, "<script>alert(1)</script>", "'; DROP TABLE emails;--"]
)
def test_odd_text_is_answered_and_listed(client: TestClient, text: str) -> None:
    send(client, subject=text)
    assert client.get("/v1/predictions", params={"subject": text}).status_code == 200
    assert len(client.get("/v1/predictions").json()["predictions"]) == 1


def test_too_much_mail_is_told_to_come_again(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise BusyError("256 emails are waiting for their answer, which is the limit", 7)

    monkeypatch.setattr(service.intake, "submit", full)
    answer = client.post("/v1/classify", json={"subject": "a"})
    problem(answer, 429, "busy")
    assert answer.headers["retry-after"] == "7"


def test_an_error_that_nobody_foresaw_is_a_problem_without_details(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(service.workspace.log, "count_by_label", broken)
    answer = client.get("/v1/labels")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text


def lines(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_batch_is_answered_line_by_line_and_in_order(client: TestClient, service: Service) -> None:
    emails = [{"id": f"<{number}@example.org>", "subject": "Wrong invoice"} for number in range(50)]
    content = "\n".join(json.dumps(email) for email in emails)
    found = lines(client.post("/v1/classify/batch", content=content, headers=LINES))
    assert [row["email_id"] for row in found] == [f"{number}@example.org" for number in range(50)]
    assert [row["line"] for row in found] == list(range(1, 51))
    assert service.workspace.log.count() == 50


def test_a_bad_line_is_a_problem_and_the_others_are_answered(client: TestClient) -> None:
    content = b"\n".join([b'{"subject": "a"}', b"nonsense", b"", b"x" * 9000, b'{"subject": "b"}'])
    found = lines(client.post("/v1/classify/batch", content=content, headers=LINES))
    assert [row["line"] for row in found] == [1, 2, 4, 5]
    assert ["problem" in row for row in found] == [False, True, True, False]
    assert found[2]["problem"]["status"] == 413


def test_a_batch_waits_for_room_instead_of_failing(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, refusals = service.intake.submit, iter(range(3))

    def sometimes(*arguments: Any) -> Any:
        if next(refusals, None) is not None:
            raise BusyError("full", 1)
        return submit(*arguments)

    monkeypatch.setattr(service.intake, "submit", sometimes)
    found = lines(client.post("/v1/classify/batch", content=b'{"subject": "a"}\n', headers=LINES))
    assert found[0]["label"]


def test_a_batch_of_another_kind_is_refused(client: TestClient) -> None:
    problem(
        client.post("/v1/classify/batch", content=b"a,b", headers={"Content-Type": "text/csv"}),
        415,
        "unsupported-media-type",
    )


def test_predictions_are_listed_page_by_page(client: TestClient) -> None:
    for number in range(5):
        send(client, number)
    first = client.get("/v1/predictions", params={"limit": 3}).json()
    rest = client.get("/v1/predictions", params={"limit": 3, "before": first["next"]}).json()
    ids = [row["email_id"] for row in first["predictions"] + rest["predictions"]]
    assert ids == [f"{number}@example.org" for number in reversed(range(5))]
    assert rest["next"] is None


def test_predictions_are_filtered_and_a_group_stands_for_all_below_it(client: TestClient) -> None:
    send(client, 1, "Lost parcel")
    send(client, 2, "Wrong invoice")

    def listed(**params: Any) -> list[str]:
        found = client.get("/v1/predictions", params=params).json()["predictions"]
        return [row["subject"] for row in found]

    assert listed(label="Delivery") == ["Lost parcel"]
    assert listed(label="invoice") == ["Wrong invoice"]
    assert listed(subject="lost") == ["Lost parcel"]
    assert listed(since="2999-01-01") == []
    assert listed(margin_above=2) == []
    assert len(listed(until="2999-01-01T00:00:00")) == 2


def test_what_somebody_judged_waits_for_nobody(client: TestClient) -> None:
    answers = [send(client, number, "Gibberish") for number in range(2)]
    assert all(answer["needs_review"] for answer in answers)
    client.post("/v1/feedback", json={"prediction_id": answers[0]["id"], "label": "late"})

    def listed(review: bool) -> list[str]:
        found = client.get("/v1/predictions", params={"review": review}).json()["predictions"]
        return [row["id"] for row in found]

    assert listed(True) == [answers[1]["id"]]
    assert listed(False) == [answers[0]["id"]]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"label": "nothing like it"}, 404),
        ({"since": "yesterday"}, 422),
        ({"since": "2026"}, 422),
        ({"limit": 0}, 422),
        ({"limit": 5000}, 422),
        ({"margin_below": "nan"}, 422),
    ],
)
def test_a_filter_that_cannot_be_used_is_a_problem(
    client: TestClient, params: dict[str, Any], status: int
) -> None:
    assert client.get("/v1/predictions", params=params).status_code == status


def test_one_prediction_has_its_text_and_every_word_on_its_email(client: TestClient) -> None:
    answer = send(client)
    client.post("/v1/feedback", json={"prediction_id": answer["id"], "label": "late"})
    found = client.get(f"/v1/predictions/{answer['id']}").json()
    assert found["text"] == "Lost parcel\nWhere is it?"
    assert [(word["label"], word["wrong_label"], word["reviewer"]) for word in found["feedback"]] == [
        ("late", "lost", "local")
    ]
    problem(client.get("/v1/predictions/nonsense"), 404, "not-found")


def test_feedback_goes_by_email_too_and_saying_it_twice_adds_nothing(
    client: TestClient, service: Service
) -> None:
    answer = send(client)
    words = [
        client.post("/v1/feedback", json={"email_id": answer["email_id"], "label": "lost"}) for _ in range(2)
    ]
    assert [word.json()["state"] for word in words] == ["confirmed", "known"]
    assert service.workspace.feedback.count() == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"label": "lost"}, 422),
        ({"label": "lost", "email_id": "a", "prediction_id": "b"}, 422),
        ({"label": "lost", "email_id": "0@example.org", "prediction_id": None}, 422),
        ({"label": "lost", "email_id": None}, 422),
        ({"label": "nothing", "email_id": "0@example.org"}, 404),
        ({"label": "Delivery", "email_id": "0@example.org"}, 404),
        ({"label": "lost", "email_id": "unknown@example.org"}, 404),
        ({"label": "lost", "prediction_id": "unknown"}, 404),
        ({"label": "lost", "email_id": "0@example.org", "source": "audit"}, 422),
    ],
)
def test_feedback_that_cannot_be_used_is_a_problem_and_writes_nothing(
    client: TestClient, service: Service, body: dict[str, Any], status: int
) -> None:
    send(client)
    assert client.post("/v1/feedback", json=body).status_code == status
    assert service.workspace.feedback.count() == 0


def test_a_program_may_say_that_no_label_fits(client: TestClient) -> None:
    answer = send(client)
    word = {"prediction_id": answer["id"], "label": "(outside)"}
    said = client.post("/v1/feedback", json=word).json()
    assert (said["label"], said["wrong_label"], said["state"]) == ("(outside)", answer["label"], "outside")
    quality = client.get("/v1/metrics/summary").json()["quality"]
    assert (quality["emails"], quality["outside"], quality["top_1"]) == (1, 1, 0)


def test_labels_come_with_their_counts(client: TestClient) -> None:
    send(client)
    by_id = {row["id"]: row for row in client.get("/v1/labels").json()["labels"]}
    assert by_id["lost"]["predictions"] == 1
    assert by_id["lost"]["path"] == ["Delivery", "Lost parcel"]
    assert by_id["late"]["predictions"] == by_id["lost"]["feedback"] == 0


def test_the_summary_says_how_much_how_fast_and_how_right(client: TestClient) -> None:
    right, wrong = send(client, 1), send(client, 2)
    client.post("/v1/feedback", json={"prediction_id": right["id"], "label": "lost"})
    client.post("/v1/feedback", json={"prediction_id": wrong["id"], "label": "late"})
    summary = client.get("/v1/metrics/summary").json()
    assert summary["predictions"]["total"] == summary["predictions"]["last_hour"] == 2
    assert summary["feedback"] == {"total": 2, "corrections": 1, "last_24_hours": 2}
    assert summary["quality"] == {
        "of": "review",
        "emails": 2,
        "outside": 0,
        "top_1": 0.5,
        "recall_at_5": 1.0,
        "sibling_confusion_rate": 0.5,
    }
    assert set(summary["latency_ms"]["total"]) == {"p50", "p95", "p99"}


def test_health_and_prometheus_figures(client: TestClient) -> None:
    send(client)
    send(client)
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json()["status"] == "ready"
    text = client.get("/metrics").text
    assert 'mailroom_answers_total{label="lost",model="v0001-' in text
    assert "mailroom_known_answers_total 1.0" in text
    assert 'mailroom_requests_total{route="/v1/classify",status="200"} 2.0' in text
    assert "mailroom_waiting_emails 0.0" in text


def test_an_ending_service_is_not_ready(client: TestClient, service: Service) -> None:
    service.close()
    problem(client.get("/readyz"), 503, "error")


def test_the_openapi_document_describes_every_route_with_examples(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    classify = document["paths"]["/v1/classify"]["post"]
    assert set(classify["requestBody"]["content"]) == {"application/json", "message/rfc822"}
    assert all("example" in kind for kind in classify["requestBody"]["content"].values())
    assert "429" in classify["responses"]
    assert document["security"] == [{"key": []}]
    problem(client.get("/docs"), 404, "not-found")
