"""What is left of a cycle's time, kills and resumes included: only working time counts."""

import re
import time
from dataclasses import dataclass, field

from mailroom.errors import ConfigError

_DURATION = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m(?:in)?)?\s*(?:(\d+)s)?")


@dataclass(slots=True)
class Budget:
    """`total_s` for the whole cycle, of which `spent_s` were used before this process began."""

    total_s: float
    spent_s: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def used_s(self) -> float:
        """Seconds of work so far."""
        return self.spent_s + time.monotonic() - self._started

    def left_s(self) -> float:
        """Seconds that may still be used, at least 0."""
        return max(0.0, self.total_s - self.used_s())


def parse_duration(text: str) -> float:
    """`90s`, `30m`, `2h`, `1h 30m`, or minutes as a bare number → seconds; ConfigError for anything else."""
    stripped = text.strip().lower()
    if stripped.isdigit():
        return int(stripped) * 60.0
    match = _DURATION.fullmatch(stripped)
    if match is None or not any(match.groups()):
        raise ConfigError(f"expected a duration such as 30m, 2h or 90s, got {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600.0 + minutes * 60.0 + seconds


def duration_words(seconds: float) -> str:
    """Seconds for people: `45 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
