"""A day at the desk in a real browser: by keyboard, without an error, without another host."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.models.registry import list_versions
from mailroom.web.listening import listen
from mailroom.web.server import make_server
from mailroom.workspace.service import Service
from tests.web.conftest import Tokens

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH")


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """The service on a free port, in a thread."""
    listener = listen("127.0.0.1", 0)
    server = make_server(service, "127.0.0.1")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def said() -> list[str]:
    """What the browser complained of, and requests that went elsewhere."""
    return []


@pytest.fixture
def page(address: str, said: list[str]) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(base_url=address)
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: said.append(request.url) if not request.url.startswith(address) else None,
        )
        yield page
        browser.close()


def fill(service: Service, count: int) -> None:
    """Different emails in the log, all of them in doubt."""
    from tests.workspace.test_intake import answer, mail

    futures = [
        service.intake.submit(
            mail(number, f"{number} words {number * 7919} that no label has {number**3}"), 60
        )
        for number in range(count)
    ]
    for future in futures:
        answer(future)


def test_a_day_at_the_desk(page: Any, said: list[str], service: Service, tokens: Tokens, root: Path) -> None:
    fill(service, 30)
    page.goto("/review")
    page.get_by_label("Key").fill(tokens.admin)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"\d/review$"))
    reviewed: list[str] = []

    def email_id() -> str:
        return str(page.locator("#answer input[name=email_id]").get_attribute("value"))

    def press(*keys: str) -> None:
        before = email_id()
        reviewed.append(before)
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('#answer input[name=email_id]')?.value !== before", arg=before
        )

    for keys in (("Enter",), ("2", "Enter"), ("3", "Enter"), ("s",), *[("1", "Enter")] * 6):
        press(*keys)
    assert len(set(reviewed)) == 10
    assert service.workspace.feedback.count() == 9

    page.keyboard.press("u")
    page.wait_for_function(
        "id => document.querySelector('#answer input[name=email_id]').value === id", arg=reviewed[-1]
    )
    page.keyboard.press("/")
    page.keyboard.type("wrong inv")
    page.locator("#found input[value=invoice]").wait_for()
    press("Enter")
    latest = service.workspace.feedback.latest_for(reviewed[-1])
    assert latest is not None
    assert (latest.label, latest.reviewer) == ("invoice", "admin")

    first, second = list_versions(root / "models")
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("heading", name=f"{second} answers").wait_for()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("heading", name=f"{first} answers").wait_for()

    page.get_by_role("link", name="Quality").click()
    page.wait_for_url("**/quality")
    page.wait_for_load_state("load")  # the slider is answered by a script, which comes last
    before = page.locator("#coverage").inner_text()
    page.locator("#precision").fill("60")
    page.wait_for_function("before => document.getElementById('coverage').innerText !== before", arg=before)

    page.get_by_role("link", name="Explore").click()
    page.locator("td.subject a").first.click()
    page.get_by_role("heading", name="What people said").wait_for()
    page.get_by_role("link", name="Architecture").click()
    page.get_by_role("link", name="Prediction log").first.wait_for()
    assert said == []


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_the_screen(page: Any, said: list[str], service: Service, width: int) -> None:
    fill(service, 12)
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/review", "/log", "/quality", "/models"):
        page.goto(path)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
    assert said == []


def test_pages_read_without_javascript(address: str, service: Service) -> None:
    fill(service, 3)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(f"{address}/review")
        page.get_by_role("button", name="Confirm").click()
        assert page.locator("dd").first.inner_text() == "1"
        browser.close()
    assert service.workspace.feedback.count() == 1
