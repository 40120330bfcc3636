"""An email as people read it: what the models did not read stands in its place."""

from mailroom.records import Aside
from mailroom.web.reading import Piece, pieces

QUOTE, SIGNATURE = Aside(2, "quoted reply", "> Dear Ann"), Aside(3, "signature", "Ann Lee")
TEXT = "Parcel\nWhere is it?\n\nYou wrote:\nIt is not here."


def test_asides_stand_where_they_stood() -> None:
    assert pieces(TEXT, "Parcel", (SIGNATURE, QUOTE)) == [
        Piece("Where is it?\n\nYou wrote:"),
        Piece("> Dear Ann", "quoted reply"),
        Piece("It is not here."),
        Piece("Ann Lee", "signature"),
    ]


def test_an_aside_may_come_first_or_lie_beyond_what_was_kept() -> None:
    first, beyond = Aside(0, "forward header", "From: Ben"), Aside(90, "disclaimer", "Think of the trees.")
    assert pieces("Parcel\nWhere?", "Parcel", (first, beyond)) == [
        Piece("From: Ben", "forward header"),
        Piece("Where?"),
        Piece("Think of the trees.", "disclaimer"),
    ]


def test_an_email_without_text_has_no_pieces() -> None:
    assert pieces(None, "Parcel") == pieces("Parcel", "Parcel") == []
