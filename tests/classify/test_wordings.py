from pathlib import Path

from mailroom.classify.wordings import competitor_text, wordings
from mailroom.taxonomy import Taxonomy, load_taxonomy

TREE = """
labels:
  - id: billing
    children:
      - id: refund
        name: Refund
        description: Money back for a payment.
        examples: [where is my money, pay me back]
        aliases: [reimbursement]
      - id: billing_change
        name: Change
  - id: orders
    children:
      - id: orders_change
        name: Change
"""


def tree(tmp_path: Path) -> Taxonomy:
    path = tmp_path / "labels.yaml"
    path.write_text(TREE, encoding="utf-8")
    return load_taxonomy(path)


def test_a_label_is_read_by_name_path_description_both_together_examples_and_aliases(tmp_path: Path) -> None:
    taxonomy = tree(tmp_path)
    assert wordings(taxonomy["refund"], taxonomy) == (
        ("Refund",),
        ("billing > Refund",),
        ("Money back for a payment.",),
        ("Refund: Money back for a payment.",),
        ("where is my money", "pay me back"),
        ("reimbursement",),
    )


def test_a_name_that_two_labels_share_is_read_with_its_parent(tmp_path: Path) -> None:
    taxonomy = tree(tmp_path)
    readings = {wordings(taxonomy[label], taxonomy) for label in ("billing_change", "orders_change")}
    assert len(readings) == 2
    assert all("Change" not in group for reading in readings for group in reading)


def test_the_same_text_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels:\n  - id: alone\n  - id: other\n", encoding="utf-8")
    taxonomy = load_taxonomy(path)
    assert wordings(taxonomy["alone"], taxonomy) == (("alone",),)


def test_a_cross_encoder_reads_name_and_description(tmp_path: Path) -> None:
    taxonomy = tree(tmp_path)
    assert competitor_text(taxonomy["refund"], taxonomy) == "Refund: Money back for a payment."
    assert competitor_text(taxonomy["orders_change"], taxonomy) == "orders > Change"
