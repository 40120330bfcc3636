"""What every test can rely on: no workspace from the caller's environment, a wide terminal."""

import pytest


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILROOM_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
