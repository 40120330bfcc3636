"""How long a step at the review desk takes, by keyboard in a real Chromium.

    python -m benchmarks.desk_steps DESK --mail examples/helpdesk/mailbox.mbox --steps 100

A step runs from the key that confirms to the frame that shows the next email; in between the word is written
to the store and forced to disk. The clock is the browser's own. Every fourth step corrects (`2`, then Enter),
the others confirm. The workspace is copied first and the mailbox is classified there; `--store postgresql`
starts a server of its own. Browser, service and database share the machine.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from benchmarks.browser import CHROMIUM, listen_to, open_page
from benchmarks.load_service import SQLITE, Served, copy_desk, served, store_url
from benchmarks.serve_load import read

TARGET_MS = 100.0
# A person reads before the next key; without a pause the fetch of the next batch would never get its turn.
PAUSE_MS = 150
WARM_UP = 3
# Notes when Enter went down and when the frame with the next email was done.
NOTE = """() => {
  window.steps = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { if (event.key === "Enter") pressed = performance.now(); }, true);
  new MutationObserver(() => {
    if (!pressed) return;
    const from = pressed;
    pressed = 0;
    requestAnimationFrame(() => setTimeout(() => window.steps.push(performance.now() - from)));
  }).observe(document.getElementById("desk"), { childList: true });
}"""


def main() -> None:
    """Take the steps and print what they took."""
    options = parse()
    if CHROMIUM is None:
        sys.exit("expected a Chromium on the PATH, found none")
    with tempfile.TemporaryDirectory() as folder, store_url(options.store) as url:
        desk = Path(folder) / "desk"
        copy_desk(options.desk, desk, url, {})
        with served(desk, 1) as service:
            fill(service.address, list(islice(read(options.mail), options.emails)))
            before = cpu_seconds(service)
            steps = walk(service.address, options.steps)
            cpu_ms = 1000 * (cpu_seconds(service) - before) / (len(steps) + WARM_UP)
    found = {
        "steps": len(steps),
        **{f"p{share}_ms": round(float(np.percentile(steps, share)), 1) for share in (50, 95)},
        "max_ms": round(max(steps), 1),
        "service_cpu_ms": round(cpu_ms, 1),
    }
    print(json.dumps(found) if options.json else in_words(found))
    sys.exit(found["p95_ms"] > TARGET_MS)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("desk", type=Path)
    parser.add_argument("--mail", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--emails", type=int, default=400, help="of the mailbox, to choose from")
    parser.add_argument("--store", default=SQLITE, help="sqlite, postgresql, or the URL of an empty database")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def fill(address: str, emails: Sequence[dict[str, Any]]) -> None:
    """Have the emails answered, so that some wait for a person."""
    lines = "".join(f"{json.dumps(email)}\n" for email in emails)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{address}/v1/classify/batch", content=lines, headers=headers, timeout=600)
    answer.raise_for_status()


def walk(address: str, count: int) -> list[float]:
    """So many steps by keyboard; milliseconds each."""
    said: list[str] = []
    with open_page(address, viewport={"width": 1440, "height": 900}) as page:
        listen_to(page, address, said)
        page.goto("/review")
        page.wait_for_load_state("load")
        page.evaluate(NOTE)
        for number in range(count + WARM_UP):
            page.wait_for_timeout(PAUSE_MS)
            if page.locator("#subject").count() == 0:
                raise SystemExit(f"only {number} emails wait for a person; name a longer mailbox")
            if number % 4 == 3:
                page.keyboard.press("2")
            page.keyboard.press("Enter")
            page.wait_for_function("count => window.steps.length === count", arg=number + 1)
        steps: list[float] = page.evaluate("window.steps")
    if said:
        raise SystemExit(f"the browser complained: {said}")
    return steps[WARM_UP:]


def cpu_seconds(service: Served) -> float:
    """CPU time that the service has taken so far."""
    time.sleep(0.2)  # what runs beside the last step belongs to it
    fields = Path(f"/proc/{service.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def in_words(found: dict[str, Any]) -> str:
    """The figures in a line."""
    return (
        f"{found['steps']} steps: median {found['p50_ms']} ms, p95 {found['p95_ms']} ms, "
        f"at most {found['max_ms']} ms; {found['service_cpu_ms']} ms of CPU in the service a step"
    )


if __name__ == "__main__":
    main()
