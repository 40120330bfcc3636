"""A workspace around a tiny random bi-encoder, made once a session, and the command line run in-process."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailroom.cli import main
from mailroom.workspace import Workspace, create_workspace

TAXONOMY = """\
# Kept as its author wrote it.
labels:
  - name: Billing
    children:
      - id: refund
        name: Refund of money
      - id: invoice
        name: Wrong invoice
  - name: Delivery
    children:
      - id: lost
        name: Lost parcel
      - id: late
        name: Late parcel
  - id: password
    name: Password reset
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the command line left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model's directory: 32 dimensions, random weights."""
    from tests.models.tiny import make_transformer

    return make_transformer(tmp_path_factory.mktemp("tiny") / "model", "bert")


@pytest.fixture(scope="session")
def taxonomy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("taxonomy") / "labels.yaml"
    path.write_text(TAXONOMY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def _made_workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, taxonomy_file: Path) -> Path:
    root = tmp_path_factory.mktemp("made") / "desk"
    create_workspace(root, taxonomy_file, str(tiny_model), "none", lambda _: None).database.close()
    return root


@pytest.fixture
def workspace(_made_workspace: Path, tmp_path: Path) -> Path:
    """A fresh copy of the workspace."""
    return shutil.copytree(_made_workspace, tmp_path / "desk")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process; `stdin` is what it reads."""

    def run(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return Result(code, out, err)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start the command line as a process of its own; it is killed at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object, stdin: int | None = None) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "mailroom", *map(str, arguments)]
        # Unbuffered: a line that is read must not take the next ones out of sight of communicate().
        process = subprocess.Popen(
            command, bufsize=0, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def write_mailbox(path: Path, count: int, first: int = 0) -> Path:
    """An mbox of `count` messages that differ."""
    messages = (
        f"From sender@example.org Mon Mar  2 10:00:00 2026\n"
        f"From: Ann Archer <ann@example.org>\nTo: desk@example.org\nSubject: Parcel {number}\n"
        f"Message-ID: <m{number}@example.org>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n\n"
        f"Where is my parcel number {number}? It should have come days ago.\n\n"
        for number in range(first, first + count)
    )
    path.write_text("".join(messages), encoding="utf-8")
    return path


def logged_ids(workspace: Path) -> list[str]:
    """Email ids of all predictions in the log."""
    with Workspace.open(workspace, read_only=True) as opened:
        return [row.prediction.email_id for row in opened.log.query()]
