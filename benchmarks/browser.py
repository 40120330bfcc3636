"""A real Chromium, the one on the PATH, with one page open; used by benchmarks and tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def open_page(address: str, **context: Any) -> Iterator[Any]:
    """A page whose relative addresses are those of the service; `context` is Playwright's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser.new_page(base_url=address, **context)
        finally:
            browser.close()


def listen_to(page: Any, address: str, said: list[str]) -> None:
    """Note what the browser complains of, and every request to another host."""
    page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: said.append(request.url) if not request.url.startswith(address) else None,
    )
