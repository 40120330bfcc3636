"""The tree itself: relatives, lookups, wordings, and the hash that names a revision."""

from pathlib import Path

import pytest

from mailroom.errors import TaxonomyError
from mailroom.taxonomy import (
    Label,
    Taxonomy,
    display_name,
    label_texts,
    load_taxonomy,
    readable_name,
    render_tree,
)

HELPDESK = """\
labels:
  - name: Billing
    children:
      - id: billing-change
        name: Change
        description: Change of address or payment
        aliases: [amend]
      - name: Refund
        overlaps: [orders-change]
  - name: Orders
    children:
      - id: orders-change
        name: Change
      - name: Returns
        assignable: true
        children:
          - Damaged
"""


def load(folder: Path, text: str) -> Taxonomy:
    path = folder / "taxonomy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_taxonomy(path)


@pytest.fixture
def helpdesk(tmp_path: Path) -> Taxonomy:
    return load(tmp_path, HELPDESK)


def ids(labels: tuple[Label, ...]) -> list[str]:
    return [label.id for label in labels]


def test_labels_stand_in_file_order_and_inner_nodes_are_not_assignable_by_default(helpdesk: Taxonomy) -> None:
    expected = ["billing", "billing-change", "refund", "orders", "orders-change", "returns", "damaged"]
    assert ids(helpdesk.labels) == expected
    assert ids(helpdesk.assignable) == ["billing-change", "refund", "orders-change", "returns", "damaged"]
    assert [label.line for label in helpdesk.labels] == [2, 4, 8, 10, 12, 14, 17]


def test_relatives(helpdesk: Taxonomy) -> None:
    assert ids(helpdesk.siblings("billing-change")) == ["refund"]
    assert ids(helpdesk.siblings("damaged")) == []
    assert ids(helpdesk.ancestors("damaged")) == ["returns", "orders"]
    assert ids(helpdesk.children("orders")) == ["orders-change", "returns"]
    assert ids(helpdesk.siblings("billing")) == []
    assert helpdesk["damaged"].path == ("Orders", "Returns", "Damaged")


def test_overlaps_hold_in_both_directions(helpdesk: Taxonomy) -> None:
    assert helpdesk["refund"].overlaps == ("orders-change",)
    assert helpdesk["orders-change"].overlaps == ("refund",)


def test_unknown_label_is_a_taxonomy_error(helpdesk: Taxonomy) -> None:
    assert helpdesk.get("nothing") is None
    assert "nothing" not in helpdesk
    with pytest.raises(TaxonomyError, match="'nothing'"):
        helpdesk["nothing"]


@pytest.mark.parametrize(
    ("text", "label_id"),
    [
        ("orders-change", "orders-change"),
        ("Orders > Change", "orders-change"),
        ("orders / change", "orders-change"),
        ("Orders>Returns > damaged", "damaged"),
        ("AMEND", "billing-change"),
        ("  refund ", "refund"),
        ("Orders", "orders"),
        ("Change", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_resolve_finds_by_id_alias_path_and_unique_name(
    helpdesk: Taxonomy, text: str, label_id: str | None
) -> None:
    found = helpdesk.resolve(text)
    assert (found.id if found else None) == label_id


def test_display_name_takes_as_many_parents_as_it_needs(helpdesk: Taxonomy) -> None:
    names = [display_name(label, helpdesk) for label in helpdesk.assignable]
    assert names == ["Billing > Change", "Refund", "Orders > Change", "Returns", "Damaged"]


def test_label_texts_hold_description_only_where_there_is_one(helpdesk: Taxonomy) -> None:
    assert label_texts(helpdesk["billing-change"])["path_description"] == (
        "Billing > Change: Change of address or payment"
    )
    assert label_texts(helpdesk["refund"])["path_description"] == "Billing > Refund"


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("card_arrival", "card arrival"),
        ("ms-windows.misc", "ms windows misc"),
        ("camelCase", "camel case"),
        ("HTTPServerError", "HTTP server error"),
        ("ORDER", "order"),
        ("SHIPPING_ADDRESS", "shipping address"),
        ("VAT", "VAT"),
        ("Change", "Change"),
        ("Can't close your account", "Can't close your account"),
        ("Phone/Internet", "Phone/Internet"),
        ("version-2.0", "version 2.0"),
        ("Größenänderung", "Größenänderung"),
        ("rücksendung_gestartet", "rücksendung gestartet"),
        ("  spaced\u00a0out  name ", "spaced out name"),
        ("___", "___"),
    ],
)
def test_readable_name(identifier: str, name: str) -> None:
    assert readable_name(identifier) == name


@pytest.mark.parametrize(
    "other",
    [
        "# a comment\n" + HELPDESK,
        HELPDESK.replace(
            "description: Change of address or payment", "description: >\n  Change of\n  address or payment"
        )
        .replace("\n  Change of\n", "\n          Change of\n")
        .replace("\n  address", "\n          address"),
        HELPDESK.replace(
            "        name: Change\n        description: Change of address or payment\n",
            "        description: Change of address or payment\n        name: Change\n",
        ),
        HELPDESK.replace("[amend]", "\n          - amend"),
    ],
    ids=["comment", "folded", "key-order", "block-list"],
)
def test_revision_does_not_depend_on_layout(tmp_path: Path, helpdesk: Taxonomy, other: str) -> None:
    assert other != HELPDESK
    assert load(tmp_path, other).revision == helpdesk.revision


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("name: Refund", "name: Refunds\n        id: refund"),
        ("Change of address", "A change of address"),
        ("[amend]", "[amend, modify]"),
        ("assignable: true", "assignable: false"),
        ("overlaps: [orders-change]", "overlaps: [damaged]"),
        ("aliases: [amend]", "examples: [amend]"),
        ("name: Billing", "name: Invoices"),
    ],
)
def test_revision_changes_with_the_content(
    tmp_path: Path, helpdesk: Taxonomy, before: str, after: str
) -> None:
    changed = load(tmp_path, HELPDESK.replace(before, after))
    assert changed.revision != helpdesk.revision
    assert len(changed.revision) == 12


def test_revision_changes_with_label_order() -> None:
    one, two = Label("a", "a", ("a",)), Label("b", "b", ("b",))
    assert Taxonomy([one, two]).revision != Taxonomy([two, one]).revision


def test_tree_shows_names_and_summed_counts(helpdesk: Taxonomy) -> None:
    from rich.console import Console

    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(render_tree(helpdesk, {"damaged": 1200, "orders-change": 3}))
    lines = capture.get().splitlines()
    assert any("Orders  1,203" in line for line in lines)
    assert any("Damaged  damaged  1,200" in line for line in lines)


def test_tree_does_not_read_markup_in_names() -> None:
    from rich.console import Console

    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(render_tree(Taxonomy([Label("x", "[bold]urgent[/nothing]", ("x",))])))
    assert "[bold]urgent[/nothing]" in capture.get()
