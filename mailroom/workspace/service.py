"""What a running service needs of a workspace: the live model, the intake, and who follows promotions."""

import threading
from types import TracebackType
from typing import Self

from mailroom.store.audit import AuditLog
from mailroom.store.keys import ApiKeys
from mailroom.store.promotions import Promotion
from mailroom.workspace.intake import Intake
from mailroom.workspace.live_model import LiveModel
from mailroom.workspace.versions import PREVIOUS, Versions
from mailroom.workspace.workspace import Workspace


class Service:
    """A workspace that answers until it is closed; safe to share between threads."""

    def __init__(self, workspace: Workspace, workers: int = 1) -> None:
        """Load the model and start the threads; raises what loading raises.

        `workers` is the number of processes that share this machine's cores.
        """
        self.workspace = workspace
        self.keys = ApiKeys(workspace.database)
        self.audit = AuditLog(workspace.database)
        self.live = LiveModel(workspace)
        threads = workspace.settings.classify.threads or max(1, workspace.threads // workers)
        self.intake = Intake(self.live, workspace.log, workspace.settings, threads)
        self._closing = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="mailroom-follow", daemon=True)
        self._follower.start()

    @property
    def ready(self) -> bool:
        """Whether emails are taken."""
        return not self._closing.is_set()

    def promote(self, name: str, by: str, reason: str) -> Promotion:
        """Make a version the current one everywhere, and here at once; ModelError where it cannot answer."""
        versions = Versions(self.live.current.workspace)
        target = versions.find(name).id
        return self.live.change(target, lambda: versions.promote(target, by, reason))

    def roll_back(self, by: str, reason: str) -> Promotion:
        """Go back to the version before the current one, here at once; ModelError where there is none."""
        versions = Versions(self.live.current.workspace)
        target = versions.find(PREVIOUS).id
        return self.live.change(target, lambda: versions.rollback(by, reason))

    def close(self) -> None:
        """Answer what was taken, then end."""
        self._closing.set()
        self.intake.close()
        self._follower.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> None:
        every_s = self.workspace.settings.serve.follow_every_ms / 1000
        while not self._closing.wait(every_s):
            self.live.follow()
