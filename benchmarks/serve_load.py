"""How the service bears load: open-loop arrivals on loopback, with and without models that change meanwhile.

    python -m benchmarks.serve_load DESK --mail examples/helpdesk/mailbox.mbox --rates 2.3,10,20 --seconds 30

Arrivals follow the clock, never the answers, and a latency counts from the moment an email was due: a service
that falls behind cannot hide it by being asked less. The workspace is copied first; its log stays as it is.
With `--swap-every` two versions (copies of one) take turns.
"""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from mailroom.config import MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.read import read_email
from mailroom.mail.sources import iter_messages
from mailroom.models.registry import draft_version, load_version, make_manifest, publish_version

MOST_EMAILS = 2_000
MOST_REQUESTS = 60_000
CLIENT_SECONDS = 30.0
ROW = "{rate:>6} {sent:>6} {ok:>6} {busy:>5} {failed:>6} {p50:>7} {p95:>7} {p99:>7} {rss:>6}  {models}"


@dataclass(slots=True)
class Counts:
    """What one run of requests came to."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    retry_after_s: list[int] = field(default_factory=list)

    def row(self, rate: float, rss_mib: float) -> str:
        """The figures as one line."""
        values = np.percentile(self.latencies_ms, (50, 95, 99)) if self.latencies_ms else (0.0, 0.0, 0.0)
        ok, busy = self.statuses["200"], self.statuses["429"]
        total = sum(self.statuses.values())
        p50, p95, p99 = (f"{value:.0f}" for value in values)
        shares = ", ".join(f"{model[:5]} {count}" for model, count in sorted(self.models.items()))
        return ROW.format(
            rate=rate, sent=total, ok=ok, busy=busy, failed=total - ok - busy,
            p50=p50, p95=p95, p99=p99, rss=f"{rss_mib:.0f}", models=shares,
        )  # fmt: skip


def main() -> None:
    """Run the rates one after the other and print a line each."""
    options = parse()
    emails = list(islice(read(options.mail), MOST_EMAILS))
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder) / "desk"
        shutil.copytree(options.desk, desk)
        if options.max_waiting:
            limit_waiting(desk, options.max_waiting)
        versions = [twin(desk), current(desk)] if options.swap_every else []
        with served(desk) as (process, address):
            head = {"rate": "rate/s", "sent": "sent", "ok": "200", "busy": "429", "failed": "failed"}
            print(
                ROW.format(
                    **head, p50="p50 ms", p95="p95", p99="p99", rss="RSS MiB", models="answers by model"
                )
            )
            for rate in options.rates:
                counts = asyncio.run(load(address, emails, rate, options, versions))
                print(counts.row(rate, peak_mib(process.pid)), flush=True)
                print(f"       alone after it: {alone_ms(address, emails):.0f} ms", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("desk", type=Path)
    parser.add_argument("--mail", type=Path, required=True)
    parser.add_argument(
        "--rates", type=lambda text: [float(part) for part in text.split(",")], default=[2.3, 10]
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--swap-every", type=float, default=0.0, help="seconds between promotions; 0 for none"
    )
    parser.add_argument("--max-waiting", type=int, default=0, help="serve.max_waiting_emails; 0 leaves it")
    return parser.parse_args()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Emails as the API takes them, without ids."""
    for message in iter_messages(path, MailSettings()):
        try:
            email = read_email(message, MailSettings()).email
        except MailParseError:
            continue
        yield {"subject": email.subject, "body": email.body}


async def load(
    address: str, emails: list[dict[str, Any]], rate: float, options: argparse.Namespace, versions: list[str]
) -> Counts:
    """Send emails at a rate for so many seconds, at random moments, and wait for all that comes of it."""
    counts, moments = Counts(), random.Random(1)
    requests = min(int(rate * options.seconds), MOST_REQUESTS)
    stamp = f"{time.time_ns()}"
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=500)
    async with httpx.AsyncClient(base_url=address, timeout=CLIENT_SECONDS, limits=limits) as client:
        swapping = asyncio.create_task(swap(client, versions, options.swap_every, counts))
        start, due, tasks = time.perf_counter(), 0.0, []
        for number, email in zip(range(requests), cycle(emails), strict=False):
            due += moments.expovariate(rate)
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            body = email | {"id": f"{stamp}-{number}@load"}
            tasks.append(asyncio.create_task(send(client, body, start + due, counts)))
        await asyncio.gather(*tasks)
        swapping.cancel()
    return counts


async def send(client: httpx.AsyncClient, email: dict[str, Any], due: float, counts: Counts) -> None:
    """Send one email and count what came of it."""
    try:
        answer = await client.post("/v1/classify", json=email)
    except httpx.HTTPError as exc:
        counts.statuses[type(exc).__name__] += 1
        return
    counts.statuses[str(answer.status_code)] += 1
    if answer.status_code == 200:
        counts.latencies_ms.append((time.perf_counter() - due) * 1000)
        counts.models[answer.json()["model"]] += 1
    elif answer.status_code == 429:
        counts.retry_after_s.append(int(answer.headers["retry-after"]))


async def swap(client: httpx.AsyncClient, versions: list[str], every_s: float, counts: Counts) -> None:
    """Promote the versions in turn; one that fails is counted as a failure of the run."""
    for version in cycle(versions):
        answer = await client.post(f"/v1/models/{version}/promote")
        if answer.status_code != 200:
            counts.statuses[f"promote {answer.status_code}"] += 1
        await asyncio.sleep(every_s)


def alone_ms(address: str, emails: list[dict[str, Any]]) -> float:
    """The median of a few requests with nothing else under way: has the service recovered?"""
    taken = []
    for number, email in enumerate(emails[:9]):
        started = time.perf_counter()
        httpx.post(
            f"{address}/v1/classify", json=email | {"id": f"{time.time_ns()}-{number}@alone"}, timeout=60
        )
        taken.append((time.perf_counter() - started) * 1000)
    return float(np.median(taken))


@contextmanager
def served(desk: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The service as a process of its own."""
    command = [sys.executable, "-m", "mailroom", "-w", str(desk), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
        try:
            yield process, line.split("listening on ")[1].split()[0]
        finally:
            process.terminate()


def limit_waiting(desk: Path, most: int) -> None:
    """Set how many emails may wait in the copied workspace."""
    path = desk / "mailroom.toml"
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("max_waiting_emails")]
    if "[serve]" not in lines:
        lines.append("[serve]")
    lines.insert(lines.index("[serve]") + 1, f"max_waiting_emails = {most}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def current(desk: Path) -> str:
    """The newest version before `twin` made one."""
    return min(path.name for path in (desk / "models").iterdir() if path.name.startswith("v"))


def twin(desk: Path) -> str:
    """A second version with the files of the first, so that there is something to swap."""
    first = load_version(desk / "models" / current(desk))
    with draft_version(desk / "models") as draft:
        shutil.copytree(first.directory, draft, dirs_exist_ok=True)
        (draft / "manifest.json").unlink()
        manifest = first.manifest
        made = make_manifest(
            manifest.base_models, manifest.precision, parent=first.id, parity=manifest.parity
        )
        return publish_version(draft, made).id


def peak_mib(pid: int) -> float:
    """The most memory that the process has held so far."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
