"""Drift, taxonomy, confused pairs, quality over time and model differences: what operators look into."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uuid_utils
from starlette.testclient import TestClient

from mailroom.models.registry import list_versions
from mailroom.records import Email, Feedback
from mailroom.store.cycles import CycleLog
from mailroom.store.log_query import LogFilter
from mailroom.store.prediction_log import LogEntry
from mailroom.taxonomy import load_taxonomy
from mailroom.web.over_time import over_time
from mailroom.web.pages_pair import advice
from mailroom.workspace.service import Service
from mailroom.workspace.summary import judged_emails
from tests.web.conftest import TAXONOMY, send

HTML = {"Accept": "text/html"}
DAY = timedelta(days=1)


def text_of(client: TestClient, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def log_at(service: Service, days_ago: float, subject: str, said: str | None = None, number: int = 0) -> None:
    """An answer given so many days ago, and what a person said of it an hour later."""
    workspace = service.workspace
    at = datetime.now(UTC) - days_ago * DAY
    email = Email(f"<{days_ago}-{subject}-{number}@example.org>", subject, f"{subject}, please.", {}, at)
    prediction = replace(service.live.current.classifier.classify(email), created_at=at)
    workspace.log.append([LogEntry(prediction, email, "test")])
    if said is not None:
        wrong = None if said == prediction.label else prediction.label
        word = Feedback(
            id=str(uuid_utils.uuid7()),
            email_id=email.id,
            label=said,
            wrong_label=wrong,
            prediction_id=prediction.id,
            reviewer="ann",
            source="review",
            created_at=at + timedelta(minutes=5),
        )
        workspace.feedback.append([word])


def test_drift_says_what_is_missing_before_there_are_two_windows(client: TestClient) -> None:
    send(client)
    assert "one of the two is empty" in text_of(client, "/drift")


def test_drift_shows_each_measure_against_its_levels(client: TestClient, service: Service) -> None:
    for number in range(120):
        log_at(service, 12, "Lost parcel", number=number)
        log_at(service, 2, "Wrong invoice", number=number)
    page = text_of(client, "/drift")
    assert "Moved too far" in page
    assert "label mix, PSI" in page
    assert "watch 0.100, alarm 0.250" in page
    assert "Lost parcel 100% 0%" in page
    assert "mailroom_drift_level 3.0" in client.get("/metrics").text


def test_a_small_window_is_no_level(client: TestClient, service: Service) -> None:
    log_at(service, 12, "Lost parcel")
    log_at(service, 2, "Wrong invoice")
    assert "Too little mail to tell" in text_of(client, "/drift")


def test_the_tree_counts_a_label_with_its_groups_and_tells_how_right_it_is(
    client: TestClient, service: Service
) -> None:
    for number, said in enumerate(("lost", "lost", "late")):
        log_at(service, 1, "Lost parcel", said, number)
    log_at(service, 1, "Wrong invoice")
    page = text_of(client, "/taxonomy")
    assert "Delivery 2 labels, 3 answers, 67% right of 3 judged" in page
    # Lost: three answers, two right of three; late: found in none of one.
    assert "Lost parcel no description 3 2 67% of 3 100% of 2" in page
    assert "no description 0 1 – 0% of 1" in page
    assert "answers 4" in page
    assert "Labels that no email got (3)" in page


def test_labels_are_found_by_what_they_are_about(client: TestClient) -> None:
    assert "Wants money back." in text_of(client, "/taxonomy?q=refund")
    assert "No label is called so" in text_of(client, "/taxonomy?q=zeppelin")


def test_a_confused_pair_stands_side_by_side_the_mistaken_first(client: TestClient, service: Service) -> None:
    log_at(service, 1, "Lost parcel", "lost")
    log_at(service, 1, "Lost parcel again", "late")
    assert "Taken for each other Answered" in text_of(client, "/quality")
    link = re.search(r'href="(/quality/pair[^"]*)"', client.get("/quality", headers=HTML).text)
    assert link is not None
    page = text_of(client, link[1].replace("&amp;", "&"))
    assert "1 judged email that belongs here got Lost parcel" in page
    assert "Lost parcel again got Lost parcel" in page
    assert "Describe Lost parcel and Late parcel" in page


@pytest.mark.parametrize(
    "query", ["", "?answered=lost", "?answered=lost&right=lost", "?answered=lost&right=../x"]
)
def test_no_pair_is_a_page_that_says_so(client: TestClient, query: str) -> None:
    answer = client.get(f"/quality/pair{query}", headers=HTML)
    assert answer.status_code == 404
    assert "expected two labels" in answer.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", "describe Wrong invoice in a sentence"),
        (
            "        description: A bill that is wrong.\n",
            "siblings: sharpen what tells them apart, or merge them",
        ),
        ("        description: A bill.\n        overlaps: [refund]\n", "they overlap, as declared"),
    ],
)
def test_advice_follows_what_the_taxonomy_lacks(tmp_path: Path, change: str, expected: str) -> None:
    text = TAXONOMY.replace("        name: Wrong invoice\n", f"        name: Wrong invoice\n{change}")
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text, encoding="utf-8")
    assert advice("refund", "invoice", load_taxonomy(path)).startswith(expected)


def test_weeks_hold_their_own_answers_and_the_changes_of_model(service: Service) -> None:
    log_at(service, 9, "Lost parcel", "lost")
    log_at(service, 9, "Lost parcel", "late", 1)
    log_at(service, 1, "Wrong invoice", "invoice")
    log_at(service, 1, "Nothing that is known")
    found = over_time(service.workspace, judged_emails(service.workspace))
    assert [(week.answers, week.judged) for week in found.weeks] == [(0, 0), (0, 0), (2, 2), (2, 1)]
    assert [week.top_1.value for week in found.weeks if week.top_1] == [0.5, 1.0]
    assert found.weeks[3].for_review == service.workspace.log.count(
        LogFilter(review=True, since=datetime.now(UTC) - 7 * DAY)
    )
    assert len(found.changes) == 1
    assert 0 < found.weeks[0].place < found.weeks[3].place < found.changes[0].place < 1


def test_two_versions_are_compared_and_one_is_told_from_itself(client: TestClient, root: Path) -> None:
    first, second = list_versions(root / "models")
    page = text_of(client, f"/models/diff?one={first}&other={second}")
    assert "note.txt changed" in page
    assert "This is one version" in text_of(client, f"/models/diff?one={first}&other={first}")
    assert f"Compare with {first}" in text_of(client, "/models")
    assert client.get("/models/diff?one=../../etc", headers=HTML).status_code == 404


@pytest.mark.parametrize("path", ["/drift", "/taxonomy", "/quality/pair?answered=lost&right=late"])
def test_pages_about_mail_want_the_scope_for_it(as_key: Callable[[str], TestClient], path: str) -> None:
    assert as_key("classify").get(path, headers=HTML).status_code == 403
    assert as_key("review").get(path, headers=HTML).status_code == 200


def test_a_word_on_a_label_that_was_no_candidate_is_told_by_its_name(
    client: TestClient, service: Service
) -> None:
    log_at(service, 1, "Lost parcel", "invoice")
    [logged] = service.workspace.log.query()
    few = replace(logged.prediction, candidates=logged.prediction.candidates[:1], id=str(uuid_utils.uuid7()))
    email = Email(logged.prediction.email_id, "Lost parcel", "Lost parcel, please.", {}, logged.received_at)
    service.workspace.log.append([LogEntry(few, email, "test")])
    assert "Billing > Wrong invoice corrected" in html.unescape(text_of(client, f"/log/{few.id}"))


def test_the_picture_says_which_steps_of_the_last_cycle_were_left_out(
    client: TestClient, service: Service
) -> None:
    cycles = CycleLog(service.workspace.database)
    cycle = cycles.begin()
    for step, result in (("bi_encoder", {"setup": {}}), ("distil", {"skipped": "too little time"})):
        cycle = cycles.save_step(cycle, step, result)
    cycles.finish(cycle, "refused", "no better")
    text = text_of(client, "/")
    assert "Bi-encoder training MNR, in-batch negatives last cycle done" in text
    assert "Distillation teacher → student, MNR + KL last cycle left out" in text
    assert "Cross-encoder training listwise softmax over top-K last cycle left out" in text
