"""A real browser on a running service: fixtures for tests, which skip where there is no Chromium."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.browser import CHROMIUM, listen_to, open_page
from mailroom.web.listening import listen
from mailroom.web.server import make_server
from mailroom.workspace.service import Service

pytest.importorskip("playwright.sync_api")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH")


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
    with open_page(address) as page:
        listen_to(page, address, said)
        yield page


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
