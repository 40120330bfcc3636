"""Everything that is wrong in some way, made on the spot, and the command that is given it."""

import json
import os
import random
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TAXONOMY = """\
labels:
  - name: Billing
    children:
      - name: Refund
        description: The customer wants money back.
      - name: Wrong invoice
  - name: Delivery
    children:
      - name: Lost parcel
      - name: Late parcel
  - name: Password reset
"""
MAIL = "From: ann@example.org\nSubject: Parcel\nMessage-ID: <{n}@example.org>\n\nWhere is parcel {n}?\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One bad input; `command` is relative to the folder in which everything lies."""

    section: str
    what: str
    command: str
    code: int
    environment: dict[str, str] = field(default_factory=dict)
    limit: Callable[[], None] | None = None
    as_owner: bool = False
    interrupted: bool = False
    stdin: bytes = b""
    during: Callable[[], Callable[[], None]] | None = None


def make_base(root: Path) -> None:
    """What good input the cases need besides: a taxonomy, mail and a gold file."""
    (root / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    (root / "one.eml").write_text(MAIL.format(n=1), encoding="utf-8")
    separator = "From a@example.org Mon Mar  2 10:00:00 2026\n"
    mails = (separator + MAIL.format(n=n) + "\n" for n in range(3000))
    (root / "many.mbox").write_text("".join(mails), encoding="utf-8")
    rows = [{"subject": "Money back", "body": "please", "label": "refund"}]
    (root / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def taxonomies(root: Path) -> Iterator[Case]:
    """Files that are no taxonomy, or one that contradicts itself."""
    deep = "".join(
        f"{'  ' * (2 * level)}- name: L{level}\n{'  ' * (2 * level + 1)}children:\n" for level in range(60)
    )
    texts: dict[str, tuple[str, str | bytes]] = {
        "empty.yaml": ("an empty file", ""),
        "binary.yaml": ("binary data", bytes(range(256)) * 20),
        "latin1.yaml": ("Latin-1 instead of UTF-8", "labels:\n  - name: Rückgabe\n".encode("latin-1")),
        "twice.yaml": ("an id twice", "labels:\n  - id: a\n  - id: b\n  - id: a\n"),
        "cycle.yaml": ("a YAML alias that makes a cycle", "labels: &x\n  - name: A\n    children: *x\n"),
        "overlap.yaml": ("an unknown overlap", "labels:\n  - id: a\n    overlaps: [z]\n  - id: b\n"),
        "none.yaml": ("no label that can be assigned", "labels:\n  - id: a\n    assignable: false\n"),
        "name.yaml": ("an empty name", "labels:\n  - id: a\n    name: ''\n  - id: b\n"),
        "types.yaml": ("a list where a text belongs", "labels:\n  - id: [a]\n    name: {x: y}\n"),
        "key.yaml": ("a misspelt key", "labels:\n  - id: a\n    overlap: [b]\n  - id: b\n"),
        "deep.yaml": ("60 levels", f"labels:\n{deep}"),
        "bomb.yaml": ("100,000 opening brackets", "[" * 100_000),
        "tabs.yaml": ("broken YAML", "labels:\n\t- id: a\n"),
        "broken.json": ("broken JSON", '{"labels": [{"id": "a"]}'),
        "scalar.yaml": ("a number", "42\n"),
        "huge.yaml": ("33 MiB", b"#" * (33 * 1024 * 1024)),
    }  # fmt: skip
    for name, (what, content) in texts.items():
        data = content if isinstance(content, bytes) else content.encode()
        (root / name).write_bytes(data)
        yield Case("Taxonomy", what, f"taxonomy check {name}", 1)
    yield Case("Taxonomy", "a folder", "taxonomy check .", 1)
    yield Case("Taxonomy", "a missing file", "init new --taxonomy missing.yaml", 1)


def mails(root: Path) -> Iterator[Case]:
    """Files that are no mail, mail that costs too much, rows that are broken."""
    nested = "".join(f'--{n}\nContent-Type: multipart/mixed; boundary="{n + 1}"\n\n' for n in range(10_000))
    head = "Subject: Parcel\nMIME-Version: 1.0\n"
    rows = (
        b'{"subject": "a", "body": "b"}\nbroken\n[1, 2]\n{"body": "\xff\xfe"}\n{"other": 1}\n'
        b'{"subject": 5, "body": {"x": 1}, "metadata": "no"}\n'
    )
    base64 = "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
    files: dict[str, tuple[str, bytes, int]] = {
        "empty.mbox": ("an empty file", b"", 0),
        "picture.eml": ("a PNG named .eml", b"\x89PNG\r\n\x1a\n" + bytes(200), 1),
        "mail.zip": ("a ZIP archive", b"PK\x03\x04" + bytes(200), 1),
        "mail.mbox.gz": ("a gzipped mailbox", b"\x1f\x8b\x08" + bytes(200), 1),
        "noise.eml": ("bytes without sense", random.Random(1).randbytes(20_000), 1),
        "nul.eml": ("NUL bytes in the text", (head + "\nWhere\0 is\0 it?\0\0\n").encode(), 0),
        "base64.eml": ("base64 that breaks off", (head + base64 + "V2hlcmUgaXMgaXQ/IEkgb3JkZXI").encode(), 0),
        "nested.eml": ("10,000 nested parts", (head + nested.removeprefix("--0\n")).encode(), 0),
        "header.eml": ("a header of 20 MB", b"Subject: " + b"parcel " * 3_000_000 + b"\n\ntext\n", 0),
        "rows.jsonl": ("broken rows, bytes that are not UTF-8, wrong types", rows, 1),
        "array.json": ("a JSON array", b'[{"subject": "a"}]', 1),
        "base.db": ("a database", b"SQLite format 3\0" + bytes(500), 1),
    }  # fmt: skip
    yield Case("Mail", "a missing path, then a good one", "-w desk classify missing.mbox one.eml", 1)
    for name, (what, data, code) in files.items():
        (root / name).write_bytes(data)
        yield Case("Mail", what, f"-w desk classify {name}", code)
    (root / "hollow").mkdir()
    yield Case("Mail", "a folder without messages", "-w desk classify hollow", 0)
    (root / "closed.eml").write_text(MAIL.format(n=2))
    (root / "closed.eml").chmod(0)
    yield Case("Mail", "a file that may not be read", "-w desk classify closed.eml", 1, as_owner=True)
    yield Case("Mail", "a message number that is not there", "show many.mbox --number 4000", 1)


def workspaces(root: Path) -> Iterator[Case]:
    """Workspaces that are none, or were damaged."""
    yield Case("Workspace", "none anywhere", "classify one.eml", 1)
    yield Case("Workspace", "a folder without mailroom.toml", "-w hollow classify one.eml", 1)
    yield Case("Workspace", "a file", "-w one.eml classify one.eml", 1)
    yield Case("Workspace", "one that exists, for init", "init desk --taxonomy labels.yaml", 1)
    toml = {
        "settings that are no TOML": "taxonomy = [",
        "an unknown setting": "[classify]\ntopk = 5\n",
        "a setting of the wrong type": '[classify]\ntop_k = "many"\n',
        "a setting out of range": "[classify]\nthreads = -1\n",
        "an unknown precision": '[models]\nprecision = "int4"\n',
        "a database that mailroom does not know": '[store]\nurl = "oracle://x"\n',
    }
    for number, (what, text) in enumerate(toml.items()):
        desk = _copy(root, f"toml{number}")
        _replace(desk / "mailroom.toml", text.encode())
        yield Case("Workspace", what, f"-w {desk.name} classify one.eml", 1)
    damages: dict[str, tuple[str, Callable[[Path], None]]] = {
        "lost-tree": ("no taxonomy.yaml", lambda desk: (desk / "taxonomy.yaml").unlink()),
        "bit": ("a changed byte in the model", lambda desk: _flip(_graph(desk))),
        "no-graph": ("a missing model file", lambda desk: _graph(desk).unlink()),
        "no-models": ("no models", lambda desk: shutil.rmtree(desk / "models")),
        "newer-model": ("a manifest of a newer format", _newer_manifest),
        "no-db": ("no database", lambda desk: (desk / "mailroom.db").unlink()),
        "other-db": ("no database but text", lambda desk: _replace(desk / "mailroom.db", b"x" * 9000)),
        "strange-db": ("a database of another program", _strange_database),
        "newer-db": ("a newer database", _newer_database),
    }  # fmt: skip
    for name, (what, damage) in damages.items():
        desk = _copy(root, name)
        damage(desk)
        yield Case("Workspace", what, f"-w {name} classify one.eml", 1)
    desk = _copy(root, "locked")
    yield Case(
        "Workspace", "a database that another process keeps locked", "-w locked classify one.eml --again", 1,
        during=lambda: _hold_lock(desk),
    )  # fmt: skip
    frozen = _copy(root, "frozen")
    for place in (frozen, *frozen.iterdir()):
        place.chmod(place.stat().st_mode & ~0o222)
    yield Case(
        "Workspace", "a folder that may not be written", "-w frozen classify one.eml", 1, as_owner=True
    )
    yield Case(
        "Workspace", "the same, for a command that reads", "-w frozen evaluate gold.jsonl", 0, as_owner=True
    )
    yield Case("Workspace", "the same, for init", "init frozen/new --taxonomy labels.yaml", 1, as_owner=True)


def full_disks(root: Path) -> Iterator[Case]:
    """No room for what must be written."""
    _copy(root, "small")
    yield Case("Full disk", "under the output", "-w desk classify one.eml --again -o /dev/full", 1)
    yield Case(
        "Full disk", "under the database (file size limit)", "-w small classify many.mbox", 1,
        limit=_small_files,
    )  # fmt: skip
    yield Case(
        "Full disk", "under a new workspace (a file size limit)", "init big --taxonomy labels.yaml", 1,
        limit=_small_files,
    )  # fmt: skip


def models(root: Path) -> Iterator[Case]:
    """Base models that are none."""
    from mailroom.models.sources import resolve_base_model

    embedded = resolve_base_model("embedded")
    (root / "pickled").mkdir()
    (root / "pickled" / "config.json").write_text('{"model_type": "bert"}')
    (root / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    wrong = shutil.copytree(embedded, root / "wrong-size")
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"hidden_size": 96}))
    cut = shutil.copytree(embedded, root / "cut-weights")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    init = "init new --taxonomy labels.yaml"
    yield Case("Models", "a folder without a model", f"{init} --bi-encoder hollow", 1)
    yield Case("Models", "a file", f"{init} --bi-encoder one.eml", 1)
    yield Case("Models", "weights as a pickle", f"{init} --bi-encoder pickled", 1)
    yield Case("Models", "a dimension that the weights do not have", f"{init} --bi-encoder wrong-size", 1)
    yield Case("Models", "weights that break off", f"{init} --bi-encoder cut-weights", 1)
    yield Case("Models", "a cross-encoder without a head", f"{init} --cross-encoder wrong-size", 1)
    yield Case(
        "Models", "a hub that cannot be reached", f"{init} --bi-encoder some/model", 1,
        environment={"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
    )  # fmt: skip


def cross_encoders(root: Path) -> Iterator[Case]:
    """One-pass cross-encoders that are none, then a good one with labels and mail at the limits."""
    from mailroom.models.sources import resolve_base_model
    from mailroom.train.one_pass_weights import from_encoder, load_one_pass, save_one_pass

    base = resolve_base_model("embedded")
    good = root / "one-pass"
    save_one_pass(from_encoder(base), good, base)
    infinite = load_one_pass(good)
    infinite.embedding_norm.weight.data[0] = float("inf")
    save_one_pass(infinite, root / "infinite", base)
    config = json.loads((good / "config.json").read_text())
    damages: dict[str, tuple[str, Callable[[Path], None]]] = {
        "plain": ("weights of a plain encoder", lambda folder: _replace(
            folder / "model.safetensors", (base / "model.safetensors").read_bytes())),
        "newer": ("a newer format", lambda folder: _replace(
            folder / "config.json", json.dumps(config | {"one_pass": {"format": 99}}).encode())),
        "narrow": ("a width that the weights do not have", lambda folder: _replace(
            folder / "config.json", json.dumps(config | {"hidden_size": 96}).encode())),
        "family": ("another family of encoders", lambda folder: _replace(
            folder / "config.json", json.dumps(config | {"model_type": "distilbert"}).encode())),
        "half": ("weights that break off", lambda folder: _replace(
            folder / "model.safetensors", (good / "model.safetensors").read_bytes()[:10_000_000])),
        "wordless": ("no tokenizer", lambda folder: (folder / "tokenizer.json").unlink()),
    }  # fmt: skip
    section, init = "One-pass cross-encoders", "init new --taxonomy labels.yaml --cross-encoder"
    shutil.copytree(base, root / "plain-encoder")
    yield Case(section, "a bi-encoder", f"{init} plain-encoder", 1)
    yield Case(section, "weights that are no numbers", f"{init} infinite", 1)
    for name, (what, damage) in damages.items():
        damage(shutil.copytree(good, root / name, copy_function=os.link))
        yield Case(section, what, f"{init} {name}", 1)
    (root / "single.yaml").write_text("labels:\n  - name: Everything\n")
    (root / "void.jsonl").write_text('{"subject": "", "body": ""}\n')
    yield Case(
        section, "a taxonomy of one label", "init both --taxonomy single.yaml --cross-encoder one-pass", 0
    )
    yield Case(section, "one label, twenty candidates asked for", "-w both classify one.eml", 0)
    yield Case(section, "an empty email", "-w both classify void.jsonl", 0)
    words = "where is my parcel " * 5000
    (root / "both" / "taxonomy.yaml").write_text(f"{TAXONOMY}    description: {words}\n")
    yield Case(section, "a label text of 20,000 words", "-w both classify one.eml --again", 0)


def arguments(root: Path) -> Iterator[Case]:
    """Commands that make no sense, gold files without gold, and a run that is interrupted."""
    (root / "blank.jsonl").write_text("")
    (root / "unlabelled.jsonl").write_text('{"subject": "a", "body": "b"}\n')
    (root / "unheard.jsonl").write_text('{"subject": "a", "body": "b", "label": "unheard"}\n')
    yield Case("Arguments", "no command", "", 2)
    yield Case("Arguments", "an unknown command", "clasify one.eml", 2)
    yield Case("Arguments", "an unknown option", "classify --jsn one.eml", 2)
    yield Case("Arguments", "two forms at once", "-w desk classify --json --csv one.eml", 2)
    yield Case("Arguments", "no threads", "-w desk classify --threads 0 one.eml", 2)
    yield Case("Arguments", "nothing to classify", "-w desk classify", 2)
    yield Case("Arguments", "no taxonomy", "init new", 2)
    yield Case("Arguments", "a date that is none", "-w desk log --since tomorrow", 2)
    yield Case("Arguments", "output into a missing folder", "-w desk classify one.eml -o no/out.csv", 1)
    yield Case("Arguments", "output onto a folder", "-w desk log --csv -o hollow", 1)
    yield Case("Arguments", "an empty gold file", "-w desk evaluate blank.jsonl", 1)
    yield Case("Arguments", "a gold file without labels", "-w desk evaluate unlabelled.jsonl", 1)
    yield Case("Arguments", "a gold file with unknown labels", "-w desk evaluate unheard.jsonl", 1)
    yield Case("Arguments", "empty standard input", "-w desk classify -", 0)
    yield Case(
        "Interrupted", "Ctrl-C in the middle", "-w desk classify many.mbox --json", 130, interrupted=True
    )


def _copy(root: Path, name: str) -> Path:
    """The workspace under another name; models are links: damage replaces a file, it never writes into it."""
    desk = shutil.copytree(root / "desk", root / name, copy_function=os.link)
    for path in desk.glob("mailroom.*"):
        _replace(path, path.read_bytes())
    return desk


def _replace(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _graph(desk: Path) -> Path:
    return next(desk.glob("models/*/bi_encoder/model.int8.onnx"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    _replace(path, bytes(data))


def _newer_manifest(desk: Path) -> None:
    path = next(desk.glob("models/*/manifest.json"))
    _replace(path, json.dumps(json.loads(path.read_text()) | {"format": 99}).encode())


def _strange_database(desk: Path) -> None:
    (desk / "mailroom.db").unlink()
    with sqlite3.connect(desk / "mailroom.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()


def _newer_database(desk: Path) -> None:
    with sqlite3.connect(desk / "mailroom.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'm9999'")
    connection.close()


def _hold_lock(desk: Path) -> Callable[[], None]:
    connection = sqlite3.connect(desk / "mailroom.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection.close


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


ALL = (taxonomies, mails, workspaces, full_disks, models, cross_encoders, arguments)
