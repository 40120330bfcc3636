"""Every error that mailroom raises on purpose.

    MailroomError
    ├── ConfigError        a setting, a workspace folder or an argument is unusable
    ├── TaxonomyError      the label tree cannot be read or contradicts itself
    ├── MailParseError     a message or a mailbox cannot be read at all
    ├── ModelError         a model cannot be found, loaded, exported or trusted
    ├── StoreError         the prediction log cannot be opened, read or written
    │   └── CycleBusyError another learning cycle is under way, or has taken this one over
    ├── DataError          a row of labelled data is unusable
    ├── BusyError          the service has taken as much mail as it may; the same request later will do
    ├── DeadlineError      an email was not answered in time
    └── PromotionRefused   a challenger failed the gate; the champion stays

A message says what was expected, what came, and what to do about it. It never holds an email's
content: messages end up in logs and tickets.
"""


class MailroomError(Exception):
    """Root of the tree; the command line prints it as one line and exits with 1."""


class ConfigError(MailroomError):
    """A setting, a workspace folder or an argument is unusable."""


class TaxonomyError(MailroomError):
    """The label tree cannot be read or contradicts itself; names file and line where known."""


class MailParseError(MailroomError):
    """A message or a mailbox cannot be read at all."""


class ModelError(MailroomError):
    """A model cannot be found, loaded, exported or trusted."""


class StoreError(MailroomError):
    """The prediction log cannot be opened, read or written."""


class CycleBusyError(StoreError):
    """Another learning cycle is under way, or another process has taken this one over."""


class DataError(MailroomError):
    """A row of labelled data is unusable."""


class BusyError(MailroomError):
    """The service has taken as much mail as it may hold; `retry_after_s` says when to come again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(MailroomError):
    """An email was not answered in time; sent again under the same id, it is answered once all the same."""


class PromotionRefused(MailroomError):  # noqa: N818 - a refusal is an outcome, and the design names it so
    """A challenger failed the gate; the champion stays."""
