"""A cycle's steps, each kept in the store as soon as it is done: a killed cycle goes on behind the last."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from mailroom.cycle.steps import Tell
from mailroom.store.cycles import Cycle, CycleLog


class KeptSteps:
    """The steps of one cycle in this process; `cycle` is as the store has it."""

    def __init__(self, log: CycleLog, cycle: Cycle, tell: Tell) -> None:
        self.log, self.cycle, self._tell = log, cycle, tell

    @property
    def done(self) -> Mapping[str, Any]:
        """What is kept of each step that is done, by name."""
        return self.cycle.steps

    def step(self, name: str, work: Callable[[], dict[str, Any]], may_skip: bool = False) -> dict[str, Any]:
        """The kept result of a step, or its work, timed and then kept.

        One that `may_skip` tells of itself once it knows whether it has work.
        """
        kept = self.done.get(name)
        if kept is None:
            words = name.replace("_", " ")
            if not may_skip:
                self._tell(words, 0.0, 0.0)
            started = time.monotonic()
            kept = work()
            if "skipped" in kept:
                self._tell(f"{words}: skipped, {kept['skipped']}", 1.0, 0.0)
            kept = {**kept, "seconds": round(time.monotonic() - started, 3)}
            self.keep(name, kept)
        result: dict[str, Any] = kept
        return result

    def keep(self, name: str, result: Mapping[str, Any], model: str | None = None) -> None:
        """Keep a step's result, and the version that it made, if any."""
        self.cycle = self.log.save_step(self.cycle, name, dict(result), model=model)
