from mailroom.taxonomy import Label, Taxonomy, search


def label(label_id: str, *path: str, **more: object) -> Label:
    return Label(label_id, path[-1], path, **more)  # type: ignore[arg-type]


TREE = Taxonomy(
    [
        label("billing", "Billing", assignable=False),
        label("refund", "Billing", "Refund", description="Wants money back for a parcel.", parent="billing"),
        label("invoice", "Billing", "Wrong invoice", aliases=("bill",), parent="billing"),
        label("parcel", "Lost parcel"),
        label("billing_address", "Address"),
    ]
)


def found(text: str, limit: int = 9) -> list[str]:
    return [label.id for label in search(TREE, text, limit)]


def test_words_in_the_name_come_before_words_in_path_and_description() -> None:
    assert found("parcel") == ["parcel", "refund"]
    assert found("BILL") == ["invoice", "refund", "billing_address"]
    assert found("money parcel") == ["refund"]


def test_every_word_must_occur_and_in_any_order() -> None:
    assert found("invoice wrong") == ["invoice"]
    assert found("invoice lost") == []
    assert found("   ") == []


def test_groups_are_not_found_and_the_limit_holds() -> None:
    assert "billing" not in found("billing")
    assert found("billing", 1) == ["refund"]


def test_what_is_named_outright_comes_first() -> None:
    assert found("address")[0] == "billing_address"
    assert found("Billing > Wrong invoice") == ["invoice"]
