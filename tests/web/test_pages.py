"""What people see: pages that read without JavaScript, escape everything, and heed their own forms alone."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from starlette.testclient import TestClient

from mailroom.models.registry import list_versions
from mailroom.store.review_draws import ReviewDraws
from mailroom.web.app import make_app
from mailroom.web.auth import SESSION_COOKIE, csrf_token
from mailroom.web.pages import FOLDER, local_path
from mailroom.workspace.service import Service
from tests.web.conftest import LOCAL, Tokens, add_version, send

HTML = {"Accept": "text/html"}
PAGES = ["/", "/review", "/log", "/quality", "/drift", "/taxonomy", "/models", "/models/diff"]
XSS = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def csrf(client: TestClient, path: str = "/review") -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', client.get(path).text)
    assert found is not None
    return found[1]


def post(client: TestClient, path: str, **fields: str) -> Any:
    return client.post(path, data=fields, headers=HTML, follow_redirects=False)


@pytest.mark.parametrize("path", [*PAGES, "/architecture.svg", "/log?label=Delivery&review=true"])
def test_a_page_reads_without_javascript_and_loads_nothing_from_elsewhere(
    client: TestClient, path: str
) -> None:
    send(client)
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert not re.search(r"\son\w+=|javascript:|\sstyle=", answer.text)
    links = re.findall(r'(?:src|href|action|hx-\w+)="([^"]*)"', answer.text)
    assert links or path.endswith("svg")
    assert [link for link in links if link.startswith(("http", "//"))] == []
    assert "<script>" not in answer.text
    if not path.endswith("svg"):
        assert "<style" not in answer.text
        for link in re.findall(r'(?:src|href)="(/static/[^"]*)"', answer.text):
            assert client.get(link).status_code == 200, link


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_workspace_has_pages_that_say_what_to_do(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert "mailroom" in answer.text


def test_hostile_mail_is_only_text_on_every_page(client: TestClient) -> None:
    email = {"id": XSS, "subject": XSS, "body": XSS, "metadata": {"from": XSS, "attachments": [XSS]}}
    answer = client.post("/v1/classify", json=email).json()
    for path in ("/", "/review", "/log", f"/log/{answer['id']}", "/log?subject=" + XSS, "/review?q=" + XSS):
        text = client.get(path, headers=HTML).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;" in client.get("/review", headers=HTML).text


def test_hostile_label_text_is_only_text(client: TestClient) -> None:
    send(client, subject="Late parcel")
    text = client.get("/review", headers=HTML).text
    assert "Late parcel <b>" not in text
    assert "Late parcel &lt;b&gt;&amp;amp;" in text


def test_the_desk_takes_a_confirmation_a_correction_and_a_skip(client: TestClient, service: Service) -> None:
    for number, subject in enumerate(("Lost parcel", "Wrong invoice", "Password reset", "Refund of money")):
        send(client, number, subject)
    said = []
    for action, label in (("answer", ""), ("answer", "late"), ("skip", "")):
        page = client.get("/review", headers=HTML).text
        email_id = re.findall(r'name="email_id" value="([^"]*)"', page)[0]
        first = re.findall(r'name="label" value="([^"]*)"', page)[0]
        done = post(
            client, "/review", csrf_token=csrf(client), email_id=email_id, action=action, label=label or first
        )
        assert (done.status_code, done.headers["location"]) == (303, "/review")
        said.append((email_id, label or first))
    words = {word.feedback.email_id: word.feedback for word in service.workspace.feedback.query()}
    assert words.keys() == {said[0][0], said[1][0]}
    assert words[said[1][0]].label == "late"
    assert words[said[0][0]].wrong_label is None
    page = client.get("/review", headers=HTML).text
    assert re.search(r"confirmed</dt><dd>1</dd>", page)
    assert re.search(r"corrected</dt><dd>1</dd>", page)
    assert re.search(r"skipped</dt><dd>1</dd>", page)


def test_mail_that_no_label_fits_leaves_the_desk_and_is_counted(client: TestClient, service: Service) -> None:
    send(client, 1, "Lost parcel")
    page = client.get("/review").text
    [email_id] = re.findall(r'name="email_id" value="([^"]*)"', page)
    post(client, "/review", csrf_token=csrf(client), email_id=email_id, action="outside")
    page = client.get("/review").text
    assert "Nothing waits for you" in page
    assert re.search(r"no label fits</dt><dd>1</dd>", page)
    word = service.workspace.feedback.latest_for(email_id)
    assert word is not None
    assert word.is_outside
    assert "none of the labels" in client.get(f"/log/{word.prediction_id}").text
    assert re.search(r"of them no label fits</dt><dd>1</dd>", client.get("/quality").text)
    assert 'mailroom_feedback_total{state="outside"} 1.0' in client.get("/metrics").text
    post(client, "/review", csrf_token=csrf(client), email_id="", action="undo")
    page = client.get("/review").text
    assert "You said <strong>none of the labels</strong>" in page
    assert "no label fits</dt>" not in page


def test_what_the_models_did_not_read_stands_dimmed_on_the_desk_and_in_the_story(client: TestClient) -> None:
    text = "qqq zzz\n\n-- \nAnn <b>Lee</b>\nSales"
    raw = f"Message-ID: <a@example.org>\nSubject: xxx\nFrom: ann@example.org\n\n{text}"
    answer = client.post("/v1/classify", content=raw, headers={"Content-Type": "message/rfc822"}).json()
    for path in ("/review", f"/log/{answer['id']}"):
        page = client.get(path, headers=HTML).text
        assert '<div class="aside"><small>signature, not read by the models</small>' in page, path
        assert "Ann &lt;b&gt;Lee&lt;/b&gt;" in page
        assert "Ann <b>" not in page


def test_undo_brings_the_last_email_back_and_the_next_word_supersedes(
    client: TestClient, service: Service
) -> None:
    for number in range(3):
        send(client, number, f"Lost parcel {number}")
    token = csrf(client)
    page = client.get("/review").text
    email_id = re.findall(r'name="email_id" value="([^"]*)"', page)[0]
    post(client, "/review", csrf_token=token, email_id=email_id, action="answer", label="late")
    post(client, "/review", csrf_token=token, email_id="", action="undo")
    page = client.get("/review").text
    assert f'name="email_id" value="{email_id}"' in page
    assert "You said" in page
    post(client, "/review", csrf_token=token, email_id=email_id, action="answer", label="lost")
    latest = service.workspace.feedback.latest_for(email_id)
    assert latest is not None
    assert latest.label == "lost"
    assert len(service.workspace.feedback.history(email_id)) == 2


def test_two_reviewers_never_have_the_same_email(
    service: Service, client: TestClient, tokens: Tokens
) -> None:
    admin = {"Authorization": f"Bearer {tokens.admin}"}
    for number in range(60):
        body = {"id": f"{number}@example.org", "subject": f"{number} odd words {number * 7919}"}
        assert client.post("/v1/classify", json=body, headers=admin).status_code == 200
    seen: list[str] = []
    for token in (tokens.review, tokens.admin):
        client.cookies.clear()
        post(client, "/login", key=token)
        seen += re.findall(r'name="email_id" value="([^"]*)"', client.get("/review").text)
    assert len(seen) == 2
    assert seen[0] != seen[1]


def test_an_answer_to_an_email_that_is_no_longer_in_hand_writes_nothing(
    client: TestClient, service: Service
) -> None:
    send(client)
    done = post(client, "/review", csrf_token=csrf(client), email_id="other", action="answer", label="late")
    assert done.status_code == 303
    assert service.workspace.feedback.count() == 0


def test_the_tree_is_searched_with_and_without_javascript(client: TestClient) -> None:
    send(client)
    assert 'value="invoice"' in client.get("/review", params={"q": "wrong inv"}).text
    assert 'value="invoice"' in client.get("/review/search", params={"q": "billing invoice"}).text
    assert "0 labels" in client.get("/review/search", params={"q": "zzz"}).text


def test_a_prediction_has_its_full_story(client: TestClient) -> None:
    answer = send(client)
    client.post("/v1/feedback", json={"prediction_id": answer["id"], "label": "late"})
    text = client.get(f"/log/{answer['id']}", headers=HTML).text
    for part in ("Where is it?", "Lost parcel", "corrected", "in force", "local", str(answer["model"])):
        assert part in text


@pytest.mark.parametrize(
    "query", ["since=yesterday", "margin_below=nan", "margin_below=x", "label=zzz", "before=x"]
)
def test_a_filter_that_cannot_be_read_is_told_of_on_the_page(client: TestClient, query: str) -> None:
    send(client)
    answer = client.get(f"/log?{query}", headers=HTML)
    assert answer.status_code == 200
    assert "expected" in answer.text or "Nothing fits" in answer.text


def test_models_are_promoted_and_rolled_back_on_the_page(
    client: TestClient, root: Path, service: Service
) -> None:
    first, second = list_versions(root / "models")
    token = csrf(client, "/models")
    done = post(client, "/models", csrf_token=token, action="promote", version=second, reason="better")
    assert (done.status_code, service.live.current.version) == (303, second)
    assert "better" in client.get("/models").text
    post(client, "/models", csrf_token=token, action="rollback")
    assert service.live.current.version == first
    refused = post(client, "/models", csrf_token=token, action="promote", version="v9999-00000000")
    assert refused.status_code == 409
    assert "expected a model version" in refused.text


def test_a_learning_cycles_report_is_read_where_its_version_stands(
    client: TestClient, root: Path, tokens: Tokens
) -> None:
    cycle = str(uuid_utils.uuid7())
    learned, stray = (add_version(root, cycle, cycle=name) for name in (cycle, "../../etc"))
    (root / "cycles" / cycle).mkdir(parents=True)
    page = "<!doctype html><style>p { margin: 0 }</style><p>What &lt;changed&gt;</p>"
    (root / "cycles" / cycle / "report.html").write_text(page, encoding="utf-8")
    client.headers["Authorization"] = f"Bearer {tokens.review}"
    shown = client.get("/models").text
    assert shown.count("The report of its learning cycle") == 1
    answer = client.get(f"/models/{learned}/report")
    assert (answer.status_code, answer.text) == (200, page)
    digest = base64.b64encode(hashlib.sha256(b"p { margin: 0 }").digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    for other in (stray, list_versions(root / "models")[0], "v9999-00000000"):
        assert client.get(f"/models/{other}/report", headers=HTML).status_code == 404
    client.headers["Authorization"] = f"Bearer {tokens.classify}"
    assert client.get(f"/models/{learned}/report", headers=HTML).status_code == 403


def test_a_version_that_the_gate_refused_says_why_and_is_not_promoted_on_the_page(
    client: TestClient, root: Path, service: Service
) -> None:
    reason = "top-1 got worse, 90.0% → 70.0% on 200 emails"
    refused = add_version(root, "worse", [reason])
    page = client.get("/models").text
    assert reason in page
    assert f"mailroom models promote {refused} --force" in page
    assert f'value="{refused}"' not in page
    before = service.live.current.version
    done = post(client, "/models", csrf_token=csrf(client, "/models"), action="promote", version=refused)
    assert (done.status_code, service.live.current.version) == (409, before)
    assert reason in done.text


@pytest.mark.parametrize("path", ["/review", "/models"])
@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_a_form_without_the_token_of_its_page_changes_nothing(
    client: TestClient, service: Service, path: str, token: str | None
) -> None:
    send(client)
    csrf(client)
    fields = {"email_id": "0@example.org", "action": "answer", "label": "late", "version": "x"}
    fields |= {} if token is None else {"csrf_token": token}
    assert post(client, path, **fields).status_code == 403
    assert service.workspace.feedback.count() == 0


def test_a_token_of_another_session_changes_nothing(client: TestClient, service: Service) -> None:
    send(client)
    token = csrf(client)
    client.cookies.clear()
    csrf(client)
    assert (
        post(client, "/review", csrf_token=token, email_id="0@example.org", action="skip").status_code == 403
    )


def test_other_sites_cannot_send_our_forms(client: TestClient) -> None:
    token = csrf(client, "/models")
    headers = {"Origin": "https://evil.example"}
    for path in ("/models", "/review", "/login", "/logout"):
        answer = client.post(path, data={"csrf_token": token}, headers=headers, follow_redirects=False)
        assert answer.status_code == 403, path


def test_a_form_that_is_huge_or_of_another_kind_is_refused(client: TestClient) -> None:
    token = csrf(client, "/models")
    assert post(client, "/review", csrf_token=token, action="x" * 70_000).status_code == 413
    assert client.post("/review", json={"csrf_token": token}).status_code == 415
    assert client.post(
        "/review", content="a&" * 100, headers={"Content-Type": "application/x-www-form-urlencoded"}
    ).status_code in (400, 403)


def test_pages_send_strangers_to_the_door_and_back(client: TestClient, tokens: Tokens) -> None:
    for path in PAGES:
        answer = client.get(path, headers=HTML, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")
    assert post(client, "/login", key="mr_wrong").status_code == 401
    done = post(client, "/login", key=tokens.review, next="/log")
    assert (done.status_code, done.headers["location"]) == (303, "/log")
    cookie = done.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/log", headers=HTML).status_code == 200
    assert post(client, "/logout").status_code == 303
    assert client.get("/log", headers=HTML, follow_redirects=False).status_code == 303


def test_the_cookie_is_not_the_key(client: TestClient, tokens: Tokens) -> None:
    post(client, "/login", key=tokens.review)
    secret = client.cookies[SESSION_COOKIE]
    assert secret not in tokens.review
    assert tokens.review.rpartition("_")[2] not in secret


def test_a_scope_holds_on_pages_too(client: TestClient, tokens: Tokens, service: Service) -> None:
    post(client, "/login", key=tokens.review)
    assert client.get("/review", headers=HTML).status_code == 200
    assert "Promote" not in client.get("/models", headers=HTML).text
    token = csrf_token(client.cookies[SESSION_COOKIE])
    assert post(client, "/models", csrf_token=token, action="rollback").status_code == 403
    client.cookies.clear()
    post(client, "/login", key=tokens.classify)
    assert client.get("/review", headers=HTML).status_code == 403
    assert client.get("/", headers=HTML).status_code == 200


def test_a_revoked_key_ends_its_browser_sessions(
    client: TestClient, tokens: Tokens, service: Service
) -> None:
    post(client, "/login", key=tokens.review)
    [key] = [key for key in service.keys.all() if key.name == "review"]
    service.keys.revoke(key.id, "root")
    assert client.get("/review", headers=HTML, follow_redirects=False).status_code == 303


def test_a_browser_session_alone_changes_nothing_through_the_api(client: TestClient, tokens: Tokens) -> None:
    post(client, "/login", key=tokens.admin)
    assert client.post("/v1/models/rollback").status_code == 403
    token = csrf(client, "/models")
    assert client.post("/v1/models/rollback", headers={"X-CSRF-Token": token}).status_code == 409


def test_a_page_that_is_not_there_says_so_as_a_page(client: TestClient) -> None:
    answer = client.get("/nowhere", headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is nothing here" in answer.text


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb", "javascript:alert(1)"],
)
def test_the_way_back_from_the_door_leads_to_this_site_alone(path: str) -> None:
    assert local_path(path) == "/"
    assert local_path("/log?label=a") == "/log?label=a"


def test_what_is_vendored_has_its_licence() -> None:
    assert (FOLDER / "static" / "htmx.LICENSE.txt").read_text(encoding="utf-8").startswith("Zero-Clause BSD")


def test_drift_is_told_of_once_there_is_mail_to_compare(client: TestClient, service: Service) -> None:
    from mailroom.web.drift_watch import DriftWatch
    from tests.store.conftest import make_entry

    young = DriftWatch(service.live)
    young.look()
    assert young.run is None
    now = datetime.now(UTC)
    log = service.workspace.log
    log.register_taxonomy("abcdef012345", [(f"label-{i}", ("Root", f"Label {i}")) for i in range(30)])
    for first, days, label in ((0, 20, 3), (200, 1, 9)):
        entries = [
            make_entry(number, label=label, created_at=now - timedelta(days=days))
            for number in range(first, first + 150)
        ]
        log.append(entries)
    watch = DriftWatch(service.live)
    watch.look()
    assert watch.run is not None
    assert watch.run.drift.level == "alarm"


def test_quality_says_what_may_be_automatic_and_what_is_taken_for_what(client: TestClient) -> None:
    assert "Nobody judged" in client.get("/quality").text
    client.cookies.clear()
    for number, (subject, label) in enumerate([("Lost parcel", "lost")] * 6 + [("Lost", "late")] * 2):
        answer = send(client, number, subject, body=f"{number}" * 3 if subject == "Lost" else "")
        client.post("/v1/feedback", json={"prediction_id": answer["id"], "label": label})
    text = client.get("/quality", params={"precision": "90"}).text
    assert "90% precision → " in text
    assert "75.0%" in text
    assert "describe Lost parcel and Late parcel" in text
    assert '<circle class="dot"' in text
    part = client.get("/quality", params={"precision": "99"}, headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert client.get("/quality", params={"precision": "1000"}).status_code == 422
    assert client.get("/quality", params={"precision": "<script>"}).status_code == 422


def test_a_precision_that_no_answer_reaches_leaves_nothing_automatic(client: TestClient) -> None:
    answer = send(client)
    client.post("/v1/feedback", json={"prediction_id": answer["id"], "label": "late"})
    assert "No answer may be automatic" in client.get("/quality", params={"precision": "60"}).text


def test_what_nobody_came_to_goes_to_others_when_the_service_ends(service: Service) -> None:
    with TestClient(make_app(service, loopback_only=True), base_url=LOCAL) as client:
        for number in range(3):
            send(client, number, f"Lost parcel {number * 7919}")
        client.get("/review")
        draws = ReviewDraws(service.workspace.database)
        assert sum(draws.taken_by().values()) > 0
    assert draws.taken_by() == {}
