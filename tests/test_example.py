"""The bundled helpdesk example: up to date, consistent, and as varied as its README promises."""

import html
import json
import mailbox
import re
import subprocess
import sys
from collections import Counter
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[1] / "examples" / "helpdesk"


@cache
def gold() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLE / "gold.jsonl").read_text("utf-8").splitlines()]


@cache
def messages() -> list[EmailMessage]:
    box = mailbox.mbox(EXAMPLE / "mailbox.mbox", create=False)
    parsed = [message_from_bytes(box.get_bytes(key), policy=policy.default) for key in box.iterkeys()]
    box.close()
    return parsed


@cache
def areas() -> list[dict[str, Any]]:
    tree: list[dict[str, Any]] = yaml.safe_load((EXAMPLE / "taxonomy.yaml").read_text("utf-8"))["labels"]
    return tree


@cache
def sources() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path in sorted((EXAMPLE / "source").glob("*.yaml")):
        for label, group in yaml.safe_load(path.read_text("utf-8")).items():
            entries += [{"label": label, **entry} for entry in group]
    return entries


def groups() -> list[dict[str, Any]]:
    return [group for area in areas() for group in area["children"]]


def labels() -> list[dict[str, Any]]:
    return [label for group in groups() for label in group["children"]]


def message_ids() -> list[str]:
    return [str(message["Message-ID"]).strip("<>") for message in messages()]


def leaf_parts(message: EmailMessage) -> list[Any]:
    return [part for part in message.walk() if not part.is_multipart()]


def html_only(message: EmailMessage) -> bool:
    kinds = {part.get_content_type() for part in leaf_parts(message) if not part.get_filename()}
    return "text/html" in kinds and "text/plain" not in kinds


@pytest.mark.parametrize("name", ["mailbox.mbox", "gold.jsonl"])
def test_built_files_are_up_to_date(tmp_path: Path, name: str) -> None:
    subprocess.run([sys.executable, EXAMPLE / "build.py", tmp_path], check=True)
    assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_tree_has_three_levels_and_forty_to_sixty_labels() -> None:
    assert 40 <= len(labels()) <= 60
    assert all("children" not in label and label.get("assignable", True) for label in labels())
    every_id = [node["id"] for node in [*areas(), *groups(), *labels()]]
    assert len(every_id) == len(set(every_id))


def test_every_label_says_what_belongs_to_it() -> None:
    for label in labels():
        assert label["name"]
        assert len(label["description"]) >= 60, label["id"]
        assert 1 <= len(label["examples"]) <= 3, label["id"]


def test_overlaps_name_labels_elsewhere_in_the_tree() -> None:
    parent = {label["id"]: group["id"] for group in groups() for label in group["children"]}
    for label in labels():
        for other in label.get("overlaps", []):
            assert other in parent, f"{label['id']} overlaps unknown {other}"
            assert parent[other] != parent[label["id"]], f"{label['id']} and {other} are siblings"


def test_overlaps_are_mutual() -> None:
    pairs = {(label["id"], other) for label in labels() for other in label.get("overlaps", [])}
    assert not {(one, other) for one, other in pairs if (other, one) not in pairs}


def test_every_gold_label_is_assignable_and_has_four_messages() -> None:
    counts = Counter(row["label"] for row in gold())
    assert set(counts) == {label["id"] for label in labels()}
    assert min(counts.values()) >= 4
    assert max(counts.values()) >= 12


def test_gold_and_mailbox_hold_the_same_messages() -> None:
    ids = message_ids()
    assert len(ids) >= 300
    assert len(ids) == len(set(ids))
    assert ids == [row["id"] for row in gold()]


def test_gold_subject_is_the_decoded_header() -> None:
    for message, row in zip(messages(), gold(), strict=True):
        assert str(message["Subject"] or "") == row["subject"]


def squeezed(text: str) -> str:
    """Text without what clients add to it: white space, quote marks and written-out link targets."""
    return re.sub(r" <(https?|mailto):[^>]+>|[>\s]", "", text)


def test_gold_body_is_the_plain_part() -> None:
    pairs = [
        (message, row) for message, row in zip(messages(), gold(), strict=True) if not html_only(message)
    ]
    with_mail_attached = forwarders()
    for message, row in pairs:
        part = message.get_body(("plain",))
        assert part is not None
        text = squeezed(re.sub(r"\s*<(https?|mailto):[^>]+>", "", part.get_content()))
        body = squeezed(row["body"])
        assert body.startswith(text) if row["id"] in with_mail_attached else body == text, row["id"]


def forwarders() -> set[str]:
    """Ids of mails with a mail attached: their gold body goes on with the attached text."""
    return {id_ for id_, m in zip(message_ids(), messages(), strict=True) if "message/rfc822" in kinds(m)}


def kinds(message: EmailMessage) -> set[str]:
    return {part.get_content_type() for part in message.walk()}


def test_gold_body_can_be_read_in_the_html() -> None:
    for message, row in zip(messages(), gold(), strict=True):
        part = message.get_body(("html",))
        if part is not None:
            text = html.unescape(re.sub(r"<[^>]+>", " ", part.get_content()))
            missing = set(re.findall(r"\w+", row["body"])) - set(re.findall(r"\w+", text))
            assert not missing, (row["id"], missing)


def test_standard_library_finds_no_defect() -> None:
    for message in messages():
        for part in message.walk():
            assert not part.defects, (message["Subject"], part.defects)


def test_dates_lie_in_the_year_of_the_story() -> None:
    assert {message["Date"].datetime.year for message in messages()} == {2026}


def test_addresses_are_invented() -> None:
    headers = [value for message in messages() for _, value in message.items()]
    texts = [row["body"] for row in gold()]
    found = re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", "\n".join(headers + texts))
    reserved = re.compile(r"(^|\.)(example\.(com|net|org)|[\w-]+\.example)$")
    assert len(found) > 1000
    assert not {host for host in found if not reserved.search(host.lower())}


def test_html_only_mails_occur() -> None:
    assert sum(html_only(message) for message in messages()) >= 25


@pytest.mark.parametrize(
    ("charset", "least"),
    [
        ("iso-8859-1", 4),
        ("windows-1252", 4),
        ("koi8-r", 1),
        ("iso-2022-jp", 1),
        ("us-ascii", 3),
        ("utf-8", 200),
    ],
)
def test_charsets_occur(charset: str, least: int) -> None:
    used = [{part.get_content_charset() for part in leaf_parts(message)} for message in messages()]
    assert sum(charset in kinds for kinds in used) >= least


@pytest.mark.parametrize(
    ("encoding", "least"), [("base64", 3), ("quoted-printable", 50), ("7bit", 50), ("8bit", 2)]
)
def test_transfer_encodings_occur(encoding: str, least: int) -> None:
    texts = [part for message in messages() for part in leaf_parts(message) if not part.get_filename()]
    assert sum(part["Content-Transfer-Encoding"] == encoding for part in texts) >= least


@pytest.mark.parametrize(("language", "least"), [("de", 12), ("fr", 6), ("es", 5), ("ru", 1), ("ja", 1)])
def test_languages_occur(language: str, least: int) -> None:
    assert sum(entry.get("lang") == language for entry in sources()) >= least


@pytest.mark.parametrize(
    ("kind", "least"),
    [("multipart/alternative", 50), ("multipart/mixed", 25), ("message/rfc822", 3), ("text/calendar", 2)],
)
def test_mime_types_occur(kind: str, least: int) -> None:
    assert sum(kind in kinds(m) for m in messages()) >= least


@pytest.mark.parametrize(
    ("sign", "least"),
    [
        (r"^On .+\bwrote:$", 20),
        (r"^From: .+\nSent: .+\nTo: .+\nSubject: ", 8),
        (r"^Von: .+\nGesendet: .+\nAn: .+\nBetreff: ", 3),
        (r"^Am .+ schrieb .+:$", 1),
        (r"^Le .+ a écrit :$", 2),
        (r"^El .+ escribió:$", 1),
        (r"^---------- Forwarded message ---------$", 2),
        (r"^-- $", 3),
        (r"^Sent from my iPhone$", 5),
        (r"If you are not the intended recipient", 2),
    ],
)
def test_quotes_signatures_and_disclaimers_occur(sign: str, least: int) -> None:
    assert sum(bool(re.search(sign, row["body"], re.MULTILINE)) for row in gold()) >= least


def test_threads_attachments_and_odd_forms_occur() -> None:
    assert sum("References" in message for message in messages()) >= 30
    assert sum(any(p.get_filename() for p in message.walk()) for message in messages()) >= 30
    assert sum(not row["subject"] for row in gold()) >= 3
    assert sum(not row["body"] for row in gold()) >= 3
    assert sum("Auto-Submitted" in message for message in messages()) >= 5
    assert sum(message["Content-Type"].params.get("format") == "flowed" for message in messages()) >= 5
    assert sum("two matters" in row.get("note", "") for row in gold()) >= 5
    assert sum("ambiguous" in row.get("note", "") for row in gold()) >= 15


def test_thread_references_lead_to_earlier_mails() -> None:
    known = set(message_ids())
    chains = [re.findall(r"<([^>]+)>", str(message["References"] or "")) for message in messages()]
    assert sum(any(reference in known for reference in chain) for chain in chains) >= 3


def test_messages_are_not_filled_templates() -> None:
    bodies = [row["body"] for row in gold() if row["body"]]
    assert len(set(bodies)) == len(bodies)
    lengths = sorted(len(body.split()) for body in bodies)
    assert lengths[0] <= 2
    assert lengths[-1] >= 300
