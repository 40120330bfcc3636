"""A service on a small workspace: real store, log, registry and threads; encoders that need no model."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mailroom.classify.classifier import Classifier, LabelEntry, Provenance
from mailroom.config import load_settings, render_toml
from mailroom.models.registry import draft_version, make_manifest, publish_version
from mailroom.store.keys import ApiKeys
from mailroom.web.app import make_app
from mailroom.workspace import Workspace
from mailroom.workspace.service import Service
from tests.fakes import HashingEncoder

TAXONOMY = """\
labels:
  - name: Billing
    children:
      - id: refund
        name: Refund of money
        description: Wants money back.
      - id: invoice
        name: Wrong invoice
  - name: Delivery
    children:
      - id: lost
        name: Lost parcel
      - id: late
        name: Late parcel <b>&amp;
  - id: password
    name: Password reset
"""
LOCAL = "http://127.0.0.1:8025"
ROOT = Path(__file__).parents[2]
Start = Callable[..., "tuple[subprocess.Popen[str], str]"]


def add_version(root: Path, note: str, refused: Sequence[str] = (), cycle: str = "") -> str:
    """A version whose files are there and checked; a stand-in answers. `refused` is the gate's word.

    `cycle` is the learning cycle that it says it comes from.
    """
    with draft_version(root / "models") as draft:
        (draft / "note.txt").write_text(note, encoding="utf-8")
        origin = ({"refused": list(refused)} if refused else {}) | ({"cycle": cycle} if cycle else {})
        manifest = make_manifest(
            {"bi_encoder": "hashing"}, {"bi_encoder": "fp32"}, metrics={"top_1": 0.5}, trained_from=origin
        )
        return publish_version(draft, manifest).id


@pytest.fixture
def store_url() -> str:
    """Where the workspace keeps its log; tests that must hold for every kind of database override it."""
    return "sqlite:///mailroom.db"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_url: str) -> Path:
    """A workspace with two versions, the first of them current."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "taxonomy.yaml").write_text(TAXONOMY, encoding="utf-8")
    values = {
        "serve.follow_every_ms": 20,
        "serve.max_body_bytes": 4096,
        "classify.threads": 2,
        "store.url": store_url,
    }
    (folder / "mailroom.toml").write_text(render_toml(values), encoding="utf-8")
    first, _ = add_version(folder, "first"), add_version(folder, "second")
    with Workspace(folder, load_settings(folder / "mailroom.toml")) as workspace:
        workspace.promotions.promote(first, "test", "made by init")
    monkeypatch.setattr(Workspace, "classifier", hashing_classifier)
    return folder


def hashing_classifier(workspace: Workspace) -> Classifier:
    """What answers in these tests: labels by the words they share with an email."""
    encoder = HashingEncoder()
    labels = workspace.taxonomy.assignable
    entries = [LabelEntry(label.id, label.path, label.name) for label in labels]
    vectors = encoder.encode_passages([label.name for label in labels])
    provenance = Provenance(workspace.version.id, workspace.taxonomy.revision)
    return Classifier(encoder, vectors, entries, workspace.settings.classify, provenance)


@pytest.fixture
def service(root: Path) -> Iterator[Service]:
    with Workspace.open(root) as workspace, Service(workspace) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    """A program on the same machine, while there are no keys."""
    app = make_app(service, loopback_only=True)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Tokens:
    """One key of each kind."""

    classify: str
    review: str
    admin: str


@pytest.fixture
def tokens(service: Service) -> Tokens:
    keys: ApiKeys = service.keys
    return Tokens(*(keys.create(scope, {scope}, "root")[1] for scope in ("classify", "review", "admin")))


@pytest.fixture
def as_key(client: TestClient, tokens: Tokens) -> Callable[[str], TestClient]:
    """The client with the key of a scope."""

    def with_key(scope: str) -> TestClient:
        client.headers["Authorization"] = f"Bearer {getattr(tokens, scope)}"
        return client

    return with_key


def send(
    client: TestClient, number: int = 0, subject: str = "Lost parcel", body: str = "Where is it?"
) -> dict[str, object]:
    """Have one email answered."""
    email = {"id": f"<{number}@example.org>", "subject": subject, "body": body}
    answer = client.post("/v1/classify", json=email)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def serve_command(root: Path, *more: str) -> list[str]:
    """The command that serves a workspace with the stand-in for its models."""
    return [sys.executable, "-m", "tests.web.serve_stand_in", "-w", str(root), "serve", *more]


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Start the service on a free port; gives the process and its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*more: str) -> tuple[subprocess.Popen[str], str]:
        command = serve_command(root, "--port", "0", *more)
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if match := re.search(r"listening on (http://\S+)", line):
                return process, match[1]
        raise AssertionError(said)

    yield start
    for process in started:
        process.kill()
        process.communicate()
