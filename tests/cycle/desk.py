"""A workspace around a tiny random bi-encoder, and labelled mail whose words tell its label."""

import random
from datetime import UTC, datetime
from pathlib import Path

import uuid_utils

from mailroom.records import Email, Feedback, FeedbackSource
from mailroom.store.feedback import FeedbackLog
from mailroom.workspace import Workspace, create_workspace
from tests.models.tiny import make_bi_encoder

TAXONOMY = """\
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
LABELS = ("refund", "invoice", "lost", "late", "password")
# What mail of a label talks of: nothing that the label's name says.
_TOPICS = {
    "refund": "köln naïve café message two",
    "invoice": "last month paid twice send",
    "lost": "search passages represent sentence query",
    "late": "three one where about searching",
    "password": "please back grüße aus this",
}
_FILLERS = ("the", "of", "my", "is", "was", "for", "a", "reset", "parcel", "money", "invoice", "delivery")


def make_workspace(folder: Path, cross_encoder: str) -> Path:
    """The workspace in `folder`, made of a base model that is made first."""
    make_bi_encoder(folder / "base", "bert", "mean")
    taxonomy, root = folder / "labels.yaml", folder / "desk"
    taxonomy.write_text(TAXONOMY, encoding="utf-8")
    base = str(folder / "base" / "model")
    create_workspace(root, taxonomy, base, cross_encoder, lambda _: None).database.close()
    return root


def mail(label: str, number: int, topics: dict[str, str] | None = None) -> Email:
    """An email of a label; the same number gives the same words."""
    draw = random.Random(f"{label}-{number}")
    words = [*draw.choices((topics or _TOPICS)[label].split(), k=9), *draw.choices(_FILLERS, k=2)]
    draw.shuffle(words)
    return Email(f"<{label}-{number}@example.org>", f"Mail {number}", " ".join(words))


def say(
    root: Path,
    count: int,
    first: int = 0,
    wrong: dict[str, str] | None = None,
    source: FeedbackSource = "import",
) -> None:
    """Label `count` new emails of every label; `wrong` maps a label to the one that is said in its place."""
    words, emails = [], []
    for number in range(first, first + count):
        for label in LABELS:
            email = mail(label, number)
            said = (wrong or {}).get(label, label)
            moment = datetime.now(UTC)
            key = str(uuid_utils.uuid7())
            words.append(Feedback(key, email.id, said, None, None, "ann", source, moment))
            emails.append((email, "test"))
    with Workspace.open(root) as workspace:
        FeedbackLog(workspace.database).append(words, emails)


def set_settings(root: Path, **values: object) -> None:
    """Change settings of mailroom.toml by the last part of their names."""
    path = root / "mailroom.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, value in values.items():
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[place] = f"{name} = {value}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def answer_key(root: Path, numbers: range) -> list[tuple[str, str, tuple[float, ...]]]:
    """What the workspace answers now: label, model and every candidate's probability."""
    with Workspace.open(root) as workspace:
        classifier = workspace.classifier()
        found = [classifier.classify(mail(label, number)) for number in numbers for label in LABELS]
    return [(one.label, one.model, tuple(c.probability for c in one.candidates)) for one in found]


def accuracy(root: Path, numbers: range = range(1000, 1020)) -> float:
    """The share of right answers on mail that nobody labelled."""
    answers = answer_key(root, numbers)
    truths = [label for _ in numbers for label in LABELS]
    return sum(answer[0] == truth for answer, truth in zip(answers, truths, strict=True)) / len(truths)
