"""Does memory grow with the number of model swaps? `python -m benchmarks.swaps DESK --swaps 60`

Promotes two versions in turn over HTTP, with no mail under way, and prints what the service holds after
every tenth swap. The workspace is copied first.
"""

import argparse
import statistics
import tempfile
from itertools import cycle
from pathlib import Path

import httpx2 as httpx

from benchmarks.load_service import SQLITE, copy_desk, served, store_url

EVERY = 10


def main() -> None:
    """Swap, and print a line every so often."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("desk", type=Path)
    parser.add_argument("--swaps", type=int, default=60)
    parser.add_argument("--store", default=SQLITE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, store_url(options.store) as url:
        desk = Path(folder) / "desk"
        versions = cycle(copy_desk(options.desk, desk, url, {}))
        with served(desk, 1) as service:
            print(f"{'swaps':>6} {'MiB now':>8} {'at most':>8} {'ms a swap':>10}")
            print(f"{0:>6} {service.memory_mib():>8.0f} {service.peak_mib():>8.0f}", flush=True)
            taken: list[float] = []
            for number in range(1, options.swaps + 1):
                answer = httpx.post(f"{service.address}/v1/models/{next(versions)}/promote", timeout=60)
                answer.raise_for_status()
                taken.append(answer.elapsed.total_seconds() * 1000)
                if number % EVERY == 0:
                    now, most = service.memory_mib(), service.peak_mib()
                    print(
                        f"{number:>6} {now:>8.0f} {most:>8.0f} {statistics.median(taken):>10.0f}", flush=True
                    )
                    taken.clear()


if __name__ == "__main__":
    main()
