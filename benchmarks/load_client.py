"""Open-loop load on a running service: arrivals follow the clock, never the answers."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import httpx2 as httpx
import numpy as np

CLIENT_SECONDS = 30.0
MOST_REQUESTS = 60_000
_CONNECTIONS = 500
_ALONE = 9
PERCENTILES = (50, 95, 99)

Emails = Sequence[dict[str, Any]]


@dataclass(slots=True)
class Counts:
    """What one run of requests came to; latencies count from the moment an email was due."""

    rate: float
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    retry_after_s: list[int] = field(default_factory=list)
    promotions: int = 0

    @property
    def failed(self) -> int:
        """Requests, promotions among them, that got neither their answer nor a 429."""
        return sum(self.statuses.values()) - self.statuses["200"] - self.statuses["429"]

    def percentile_ms(self, share: float) -> float:
        """Of the answered emails; 0 where none was."""
        return float(np.percentile(self.latencies_ms, share)) if self.latencies_ms else 0.0

    def holds(self, p99_ms: float) -> bool:
        """Whether every email was answered, nearly all of them in time."""
        return self.statuses["429"] == self.failed == 0 and self.percentile_ms(99) < p99_ms

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": sum(self.statuses.values()),
            "answered": self.statuses["200"],
            "busy": self.statuses["429"],
            "failed": self.failed,
            "failures": {k: v for k, v in self.statuses.items() if k not in ("200", "429")},
            **{f"p{share}_ms": round(self.percentile_ms(share), 1) for share in PERCENTILES},
            "retry_after_s": [min(self.retry_after_s), max(self.retry_after_s)]
            if self.retry_after_s
            else None,
            "promotions": self.promotions,
            "answers_by_model": dict(sorted(self.models.items())),
        }


async def load(
    address: str, emails: Emails, rate: float, seconds: float, versions: Iterator[str], swap_every_s: float
) -> Counts:
    """Send emails at a rate for so many seconds, at random moments, and wait for all that comes of it.

    With `swap_every_s` above 0 the next of the versions is promoted so often meanwhile.
    """
    counts, moments = Counts(rate, seconds), random.Random(1)
    requests = min(int(rate * seconds), MOST_REQUESTS)
    stamp = f"{time.time_ns()}"
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    async with httpx.AsyncClient(base_url=address, timeout=CLIENT_SECONDS, limits=limits) as client:
        swapping = (
            asyncio.create_task(_swap(client, versions, swap_every_s, counts)) if swap_every_s else None
        )
        start, due, tasks = time.perf_counter(), 0.0, []
        for number, email in zip(range(requests), cycle(emails), strict=False):
            due += moments.expovariate(rate)
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            body = email | {"id": f"{stamp}-{number}@load"}
            tasks.append(asyncio.create_task(_send(client, body, start + due, counts)))
        await asyncio.gather(*tasks)
        if swapping is not None:
            swapping.cancel()
    return counts


def alone_ms(address: str, emails: Emails) -> float:
    """The median of a few requests with nothing else under way."""
    taken = []
    for number, email in enumerate(emails[:_ALONE]):
        started = time.perf_counter()
        body = email | {"id": f"{time.time_ns()}-{number}@alone"}
        httpx.post(f"{address}/v1/classify", json=body, timeout=2 * CLIENT_SECONDS)
        taken.append((time.perf_counter() - started) * 1000)
    return float(np.median(taken))


async def _send(client: httpx.AsyncClient, email: dict[str, Any], due: float, counts: Counts) -> None:
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


async def _swap(client: httpx.AsyncClient, versions: Iterator[str], every_s: float, counts: Counts) -> None:
    """Promote the versions in turn; one that fails is counted as a failure of the run."""
    for version in versions:
        answer = await client.post(f"/v1/models/{version}/promote")
        if answer.status_code == 200:
            counts.promotions += 1
        else:
            counts.statuses[f"promote {answer.status_code}"] += 1
        await asyncio.sleep(every_s)
