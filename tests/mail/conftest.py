"""Limits and one-line readers that the tests of mail share."""

from collections.abc import Callable

import pytest

from mailroom.config import MailSettings
from mailroom.mail.read import ReadEmail, read_email
from mailroom.mail.sources import Message

Read = Callable[[bytes], ReadEmail]


@pytest.fixture
def limits() -> MailSettings:
    return MailSettings()


@pytest.fixture
def read(limits: MailSettings) -> Read:
    """Reads raw bytes as one message."""
    return lambda data: read_email(Message("test", "rfc822", data, len(data), False), limits)
