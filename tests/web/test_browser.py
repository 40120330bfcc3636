"""A day at the desk in a real browser: by keyboard, without an error, without another host."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import open_page
from mailroom.models.registry import list_versions
from mailroom.workspace.service import Service
from tests.web.browsing import address, fill, needs_chromium, page, said
from tests.web.conftest import Tokens
from tests.web.test_insight_pages import log_at

__all__ = ["address", "page", "said"]
pytestmark = needs_chromium


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

    for keys in (("Enter",), ("2", "Enter"), ("n",), ("s",), *[("1", "Enter")] * 6):
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
    for path in ("/", "/review", "/log", "/quality", "/drift", "/taxonomy", "/models", "/models/diff"):
        page.goto(path)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
    assert said == []


@pytest.mark.parametrize("width", [390, 1280])
def test_quality_over_time_fits_the_screen_and_its_dates_stand_apart(
    page: Any, said: list[str], service: Service, width: int
) -> None:
    for days in range(80, 0, -3):
        log_at(service, days, "Lost parcel", "lost" if days % 4 else "late")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/quality")
    [plot] = [plot for plot in page.locator("svg.time").all() if plot.is_visible()]
    box = plot.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    texts = [text.bounding_box() for text in plot.locator("text[text-anchor=middle]").all()]
    ends = [(text["x"], text["x"] + text["width"]) for text in texts if text is not None]
    assert len(ends) > 3
    assert all(left[1] < right[0] for left, right in pairwise(ends))
    assert box["x"] <= ends[0][0]
    assert ends[-1][1] <= box["x"] + box["width"]
    assert said == []


def test_pages_read_without_javascript(address: str, service: Service) -> None:
    fill(service, 3)
    with open_page(address, java_script_enabled=False) as page:
        page.goto("/review")
        page.get_by_role("button", name="Confirm").click()
        assert page.locator("dd").first.inner_text() == "1"
    assert service.workspace.feedback.count() == 1
