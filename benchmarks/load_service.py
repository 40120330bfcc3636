"""A copy of a workspace on the store that is asked for, and the service on it as a process of its own."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.postgresql_server import find_binaries, running_server
from mailroom.config import load_settings, render_toml, setting_values
from mailroom.models.registry import (
    draft_version,
    list_versions,
    load_version,
    make_manifest,
    publish_version,
)
from mailroom.workspace import Workspace

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Served:
    """A service that takes mail."""

    process: "subprocess.Popen[str]"
    address: str
    ready_s: float

    def memory_mib(self) -> float:
        """What it holds now, workers and all."""
        return self._kib("VmRSS") / 1024

    def peak_mib(self) -> float:
        """The most that it has held so far: the sum of its processes' own peaks."""
        return self._kib("VmHWM") / 1024

    def _kib(self, name: str) -> float:
        found = 0
        for pid in (self.process.pid, *_children(self.process.pid)):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                    found += int(line.split()[1]) if line.startswith(name) else 0
        return found


@contextmanager
def store_url(store: str) -> Iterator[str]:
    """The URL of an empty store: `sqlite`, `postgresql` (a server of our own, durable), or a URL."""
    if store == SQLITE:
        yield "sqlite:///mailroom.db"
    elif store == POSTGRESQL:
        binaries = find_binaries()
        if binaries is None:
            sys.exit("no PostgreSQL server is installed; name one that runs by its URL")
        with running_server(binaries, durable=True) as server:
            yield server.create_database("load")
    else:
        yield store


def copy_desk(desk: Path, target: Path, url: str, settings: dict[str, Any]) -> list[str]:
    """Copy the workspace without its log, with these settings and a second version; returns both versions."""
    shutil.copytree(desk, target, ignore=shutil.ignore_patterns("mailroom.db*"))
    path = target / "mailroom.toml"
    values = setting_values(load_settings(path)) | {"store.url": url} | settings
    path.write_text(render_toml(values), encoding="utf-8")
    with Workspace.open(desk) as original:
        current = original.version.id
    other = next((name for name in list_versions(target / "models") if name != current), None)
    with Workspace.open(target) as workspace:
        workspace.promotions.promote(current, "serve_load", "the start")
    return [other or _twin(target, current), current]


@contextmanager
def served(desk: Path, workers: int) -> Iterator[Served]:
    """The service as a process of its own, from the moment it takes mail."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mailroom", "-w", str(desk), "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--workers", str(workers)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address = _address(process)
            _wait_until_ready(address)
            yield Served(process, address, time.perf_counter() - started)
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[str]") -> str:
    said = ""
    for line in process.stderr or ():
        said += line
        if "listening on" in line:
            return line.split("listening on ")[1].split()[0]
    raise RuntimeError(f"the service did not start: {said}")


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz", timeout=_READY_SECONDS).status_code == 200:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the service is not ready")
        time.sleep(0.01)


def _twin(desk: Path, first_id: str) -> str:
    """A second version with the files of the first, so that there is something to swap."""
    first = load_version(desk / "models" / first_id)
    with draft_version(desk / "models") as draft:
        shutil.copytree(first.directory, draft, dirs_exist_ok=True)
        (draft / "manifest.json").unlink()
        manifest = first.manifest
        made = make_manifest(
            manifest.base_models, manifest.precision, parent=first.id, parity=manifest.parity
        )
        return publish_version(draft, made).id


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(child) for child in text.split()]
    return []
