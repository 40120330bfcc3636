"""How the service bears load: open-loop arrivals on loopback, with models that change meanwhile.

The whole programme, about 12 minutes a store, on a machine that does nothing else:

    python -m benchmarks.serve_load DESK --mail examples/helpdesk/mailbox.mbox \\
        --stores sqlite,postgresql -o load.json

For each store: restart to ready; 2.3 emails a second (200,000 a day) and 10 a second for five minutes, with a
promotion every five seconds; the highest rate whose p99 stays under 500 ms; twice that rate, and what is left
of it a moment later. `--rates 10,20 --seconds 30` runs those rates alone.

Arrivals follow the clock, never the answers, and a latency counts from the moment an email was due: a service
that falls behind cannot hide it by being asked less. The workspace is copied first; its log stays as it is.
`postgresql` starts a server of its own; any URL of an empty database does too. Client, service and database
share the machine.
"""

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.load_client import Counts, alone_ms, load
from benchmarks.load_service import Served, copy_desk, served, store_url
from mailroom.config import MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.read import read_email
from mailroom.mail.sources import iter_messages

MOST_EMAILS = 2_000
TARGET_MS = 500.0
# 200,000 emails a day, and the rate that is held for five minutes.
DAY_RATE, STEADY_RATE = 2.3, 10.0
GROWTH, BISECTIONS, MOST_RATE = 1.5, 3, 2_000.0
ROW = "{what:<26} {rate:>6} {sent:>6} {ok:>6} {busy:>5} {failed:>6} {p50:>6} {p95:>6} {p99:>6} {rss:>6}"
ROW += "  {swaps:>5}"


class Programme:
    """One store's runs on one running service."""

    def __init__(self, options: argparse.Namespace, service: Served, versions: Sequence[str]) -> None:
        self._options, self._service = options, service
        self._versions = cycle(versions)
        self._emails = list(islice(read(options.mail), MOST_EMAILS))
        self.rows: list[dict[str, Any]] = []

    def run(self) -> None:
        """The whole programme."""
        self.measure("200,000 a day", DAY_RATE, self._options.seconds)
        self.measure("steady", STEADY_RATE, 5 * self._options.seconds)
        highest = self.highest_rate()
        print(f"highest rate with p99 under {TARGET_MS:.0f} ms: {highest:.1f} a second", flush=True)
        self.rows.append({"what": "highest", "rate": highest})
        self.measure("twice the highest", 2 * highest, self._options.seconds)
        self.recover()
        self.measure("steady, after it", STEADY_RATE, self._options.seconds)

    def measure(self, what: str, rate: float, seconds: float, swap: bool = True) -> Counts:
        """One run, printed and kept."""
        every_s = self._options.swap_every if swap else 0.0
        counts = asyncio.run(
            load(self._service.address, self._emails, rate, seconds, self._versions, every_s)
        )
        found = counts.to_dict()
        memory = {"rss_mib": self._service.memory_mib(), "peak_mib": self._service.peak_mib()}
        self.rows.append({"what": what, **found, **memory})
        print(
            ROW.format(
                what=what, rate=f"{rate:.1f}", sent=found["sent"], ok=found["answered"], busy=found["busy"],
                failed=found["failed"], p50=f"{found['p50_ms']:.0f}", p95=f"{found['p95_ms']:.0f}",
                p99=f"{found['p99_ms']:.0f}", rss=f"{memory['peak_mib']:.0f}", swaps=found["promotions"],
            ),
            flush=True,
        )  # fmt: skip
        for failure, count in found["failures"].items():
            print(f"    {failure}: {count}", flush=True)
        return counts

    def highest_rate(self) -> float:
        """Upward from the steady rate until it no longer holds, then between; downward where that fails."""
        seconds = self._options.seconds / 3
        held, rate = 0.0, STEADY_RATE
        while rate < MOST_RATE and self.measure("search", rate, seconds, swap=False).holds(TARGET_MS):
            held, rate = rate, rate * GROWTH
            self.recover(quietly=True)
        failed = rate
        for _ in range(BISECTIONS):
            self.recover(quietly=True)
            middle = (held + failed) / 2
            if self.measure("search", middle, seconds, swap=False).holds(TARGET_MS):
                held = middle
            else:
                failed = middle
        return held

    def recover(self, quietly: bool = False) -> None:
        """One email at a time: has the service recovered?"""
        alone = alone_ms(self._service.address, self._emails)
        if not quietly:
            self.rows.append({"what": "alone after it", "p50_ms": round(alone, 1)})
            print(f"alone after it: {alone:.0f} ms; {self._service.memory_mib():.0f} MiB", flush=True)


def main() -> None:
    """Run every store and print a line a run."""
    options = parse()
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {options.workers} worker(s)", flush=True
    )
    results: dict[str, dict[str, Any]] = {}
    for store in options.stores:
        with tempfile.TemporaryDirectory() as folder, store_url(store) as url:
            desk = Path(folder) / "desk"
            settings = {"serve.max_waiting_emails": options.max_waiting} if options.max_waiting else {}
            versions = copy_desk(options.desk, desk, url, settings)
            starts = [ready_s(desk, options.workers) for _ in range(options.restarts)]
            with served(desk, options.workers) as service:
                starts.append(service.ready_s)
                name = store.partition(":")[0]
                print(f"\n{name}: ready after {', '.join(f'{s:.2f}' for s in starts)} s", flush=True)
                print(
                    ROW.format(
                        what="", rate="rate/s", sent="sent", ok="200", busy="429", failed="failed",
                        p50="p50 ms", p95="p95", p99="p99", rss="MiB", swaps="swaps",
                    ),
                    flush=True,
                )  # fmt: skip
                programme = Programme(options, service, versions)
                if options.rates:
                    for rate in options.rates:
                        programme.measure("", rate, options.seconds)
                    programme.recover()
                else:
                    programme.run()
            results[name] = {"ready_s": starts, "runs": programme.rows}
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(row.get("failed", 0) for found in results.values() for row in found["runs"]))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("desk", type=Path)
    parser.add_argument("--mail", type=Path, required=True)
    parser.add_argument(
        "--stores", type=lambda text: text.split(","), default=["sqlite"],
        help="sqlite, postgresql, or URLs of empty databases",
    )  # fmt: skip
    parser.add_argument(
        "--rates",
        type=lambda text: [float(part) for part in text.split(",")],
        help="these rates alone instead of the programme",
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of a run; the steady one takes five times as long"
    )
    parser.add_argument(
        "--swap-every", type=float, default=5.0, help="seconds between promotions; 0 for none"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--max-waiting", type=int, default=0, help="serve.max_waiting_emails; 0 leaves it")
    parser.add_argument(
        "--restarts", type=int, default=2, help="starts that are timed before the one that serves"
    )
    parser.add_argument("-o", "--output", type=Path, help="all figures as JSON")
    return parser.parse_args()


def ready_s(desk: Path, workers: int) -> float:
    """Seconds from the start of the process until it takes mail."""
    with served(desk, workers) as service:
        return service.ready_s


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Emails as the API takes them, without ids."""
    for message in iter_messages(path, MailSettings()):
        try:
            email = read_email(message, MailSettings()).email
        except MailParseError:
            continue
        yield {"subject": email.subject, "body": email.body}


if __name__ == "__main__":
    main()
