"""Who may do what, and what neither a website nor hostile mail can make the service do."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from mailroom.errors import ConfigError
from mailroom.web.app import SECURITY_HEADERS, make_app
from mailroom.web.listening import is_loopback, listen
from mailroom.workspace.service import Service
from tests.web.conftest import LOCAL, Tokens, send

AsKey = Callable[[str], TestClient]

# Everything else wants a key.
PUBLIC = {"/healthz", "/readyz"}
SCOPE_OF = {
    ("POST", "/v1/classify"): "classify",
    ("POST", "/v1/classify/batch"): "classify",
    ("GET", "/v1/predictions"): "review",
    ("GET", "/v1/predictions/{prediction_id}"): "review",
    ("POST", "/v1/feedback"): "review",
    ("GET", "/v1/labels"): None,
    ("GET", "/v1/metrics/summary"): None,
    ("GET", "/v1/models"): None,
    ("POST", "/v1/models/{version}/promote"): "admin",
    ("POST", "/v1/models/rollback"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/openapi.json"): None,
    ("GET", "/metrics"): None,
}


def api_routes(app: Any) -> Iterator[tuple[str, str]]:
    assert isinstance(app, FastAPI)
    for route in flatten(app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path


def flatten(routes: Any) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from flatten(getattr(getattr(route, "original_router", route), "routes", ()))


def test_every_route_is_either_public_or_behind_a_key(client: TestClient, tokens: Tokens) -> None:
    del tokens
    found = {(method, path) for method, path in api_routes(client.app) if path not in PUBLIC}
    assert {pair for pair in found if pair[1].startswith(("/v1", "/metrics"))} == SCOPE_OF.keys()
    for method, path in SCOPE_OF:
        answer = client.request(method, path.replace("{", "").replace("}", ""))
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in PUBLIC:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("scope", ["classify", "review", "admin"])
def test_a_key_opens_what_its_scope_says_and_nothing_else(as_key: AsKey, scope: str) -> None:
    client = as_key(scope)
    for (method, path), needed in SCOPE_OF.items():
        answer = client.request(method, path.replace("{", "").replace("}", ""))
        allowed = needed in (None, scope) or scope == "admin"
        assert (answer.status_code != 403) == allowed, (method, path)
        assert answer.status_code != 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer mr_000000000000_" + "A" * 43, "bearer  "]
)
def test_a_wrong_key_opens_nothing(client: TestClient, tokens: Tokens, header: str) -> None:
    del tokens
    assert client.get("/v1/labels", headers={"Authorization": header}).status_code == 401


def test_a_revoked_key_is_refused_at_once(as_key: AsKey, service: Service) -> None:
    client = as_key("review")
    assert client.get("/v1/labels").status_code == 200
    [key] = [key for key in service.keys.all() if key.name == "review"]
    service.keys.revoke(key.id, "root")
    assert client.get("/v1/labels").status_code == 401


def test_the_last_key_revoked_does_not_open_the_door_again(client: TestClient, service: Service) -> None:
    key, _ = service.keys.create("only", {"admin"}, "root")
    service.keys.revoke(key.id, "root")
    assert client.get("/v1/labels").status_code == 401


def test_without_keys_only_this_machine_is_let_in(service: Service) -> None:
    app = make_app(service, loopback_only=False)
    with TestClient(app, base_url=LOCAL) as client:
        assert client.get("/v1/labels").status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8025"]
)
def test_a_website_whose_name_was_made_to_point_here_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/v1/labels", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                {"Origin": "http://127.0.0.1:9999"}]
)  # fmt: skip
def test_a_request_that_another_site_started_changes_nothing(
    client: TestClient, headers: dict[str, str]
) -> None:
    send(client)
    for path in ("/v1/models/rollback", "/v1/feedback", "/v1/classify"):
        assert client.post(path, headers=headers).status_code == 403


def test_feedback_is_kept_under_the_name_of_the_key(as_key: AsKey, service: Service) -> None:
    answer = send(as_key("classify"))
    body = {"prediction_id": answer["id"], "label": "late"}
    assert as_key("review").post("/v1/feedback", json=body).json()["reviewer"] == "review"
    assert [word.reviewer for word in service.workspace.feedback.history("0@example.org")] == ["review"]


@pytest.mark.parametrize(
    "text",
    [
        "' OR 1=1 --",
        '"; DROP TABLE predictions; --',
        "%' UNION SELECT secret_sha256 FROM api_keys --",
        "\\",
        "%",
    ],
)
def test_sql_in_a_filter_is_only_text(client: TestClient, service: Service, text: str) -> None:
    send(client)
    for name in ("subject", "model", "email_id", "before"):
        answer = client.get("/v1/predictions", params={name: text})
        assert answer.status_code == 200
        assert answer.json()["predictions"] == []
    assert client.get("/v1/predictions", params={"label": text}).status_code == 404
    assert client.get(f"/v1/predictions/{text.replace('/', '')}").status_code == 404
    assert service.workspace.log.count() == 1


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/models/%2e%2e%2f%2e%2e/promote"]
)
def test_paths_lead_nowhere_else(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405)
    assert "root:" not in answer.text


def test_every_answer_carries_the_headers_that_keep_browsers_safe(client: TestClient) -> None:
    for path in ("/healthz", "/v1/labels", "/nowhere"):
        answer = client.get(path)
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_deep_and_large_json_is_refused_quickly(client: TestClient) -> None:
    deep = b'{"subject": "a", "metadata": ' + b'{"a":' * 600 + b"1" + b"}" * 601
    answer = client.post("/v1/classify", content=deep, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 404, 422)
    huge = {"Content-Type": "application/json", "Content-Length": "99999999999"}
    assert client.post("/v1/classify", content=b"{}", headers=huge).status_code == 413


def test_no_token_is_ever_in_an_answer(as_key: AsKey, tokens: Tokens) -> None:
    client = as_key("admin")
    said = json.dumps(
        [client.get(path).text for path in ("/v1/audit", "/v1/models", "/metrics", "/v1/openapi.json")]
    )
    for token in (tokens.admin, tokens.review):
        assert token.rpartition("_")[2] not in said


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.2", False), ("mail.example", False)],
)  # fmt: skip
def test_loopback_is_told_from_what_others_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_config_error_is_what_an_unusable_address_is() -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        listen("192.0.2.1", 1)
