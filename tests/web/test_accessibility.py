"""Every page as axe-core sees it, light and dark, on a screen and on a phone: nothing serious is in the way.

`axe/` holds axe-core 4.14.1 as its makers built it, under the Mozilla Public License 2.0.
"""

from pathlib import Path
from typing import Any

import pytest

from mailroom.models.registry import list_versions
from mailroom.workspace.service import Service
from tests.web.browsing import address, fill, needs_chromium, page, said
from tests.web.conftest import Tokens
from tests.web.test_insight_pages import log_at

__all__ = ["address", "page", "said"]
pytestmark = needs_chromium

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")


def complaints(page: Any, path: str) -> list[str]:
    """What axe-core finds serious, with the element it is about."""
    page.goto(path)
    page.wait_for_load_state("load")
    page.evaluate(AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{path}: {rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]}"
        for rule in found
        if rule["impact"] in SERIOUS
    ]


@pytest.fixture
def paths(service: Service, root: Path) -> list[str]:
    """Every page, with something on it."""
    fill(service, 12)
    for number in range(8):
        log_at(service, 2, "Lost parcel", "late" if number % 2 else "lost", number)
        log_at(service, 15, "Wrong invoice", "invoice", number)
    first, second = list_versions(root / "models")
    service.promote(second, "ann", "better")
    newest = next(iter(service.workspace.log.query()))
    return [
        *("/", "/review", "/review?q=parcel", "/log", f"/log/{newest.prediction.id}", "/log?label=Delivery"),
        *("/quality", "/quality/pair?answered=lost&right=late", "/drift", "/taxonomy", "/taxonomy?q=parcel"),
        *("/models", f"/models/diff?one={first}&other={second}", "/log/nothing", "/nowhere"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_has_a_serious_problem(page: Any, paths: list[str], scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    assert [line for path in paths for line in complaints(page, path)] == []


def test_no_empty_page_has_a_serious_problem(page: Any) -> None:
    paths = ("/", "/review", "/log", "/quality", "/drift", "/taxonomy", "/models", "/models/diff")
    assert [line for path in paths for line in complaints(page, path)] == []


def test_the_log_in_has_no_serious_problem(page: Any, tokens: Tokens) -> None:
    assert tokens.admin
    assert complaints(page, "/login") == []
