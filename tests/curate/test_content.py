import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.curate.content import content_key, content_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel my order!", "cancel   my\norder"),
        ("Order 113-542 is late", "order 7 is late"),
        ("Hello,\nwhere is my parcel, please?", "Where is my parcel, please?"),
        ("Dear support team,\n\nwhere is my parcel from last week?", "where is my parcel from last week"),
        (
            "Parcel\nSehr geehrte Damen und Herren,\nwo ist mein Paket denn nun?",
            "Parcel wo ist mein Paket denn nun",
        ),
        ("ﬁne café", "FINE CAFE\u0301"),
    ],
)
def test_texts_that_say_the_same_have_one_content(one: str, other: str) -> None:
    assert content_key(one) == content_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cancel my order", "track my order"),
        ("hello cancel my order, thanks", "hello track my order, thanks"),
        ("Hello!", "Goodbye!"),
        ("👍", "👎"),
        ("a question about C", "a question about C#"),
        ("a question about C", "a question about C++"),
        ("退款", "退货"),
        ("กา", "กี"),
        ("I owe you 5 €", "I owe you 5 %"),
        ("", "?"),
    ],
)
def test_texts_that_say_something_else_have_other_contents(one: str, other: str) -> None:
    assert content_key(one) != content_key(other)


def test_numbers_can_be_told_apart_on_demand() -> None:
    assert content_key("error 404") == content_key("error 500")
    assert content_key("error 404", fold_numbers=False) != content_key("error 500", fold_numbers=False)


def test_a_mail_that_is_its_greeting_keeps_it() -> None:
    assert content_words("Good morning, Anna!") == ["good", "morning", "anna"]


def test_a_name_is_only_taken_out_of_a_line_of_its_own() -> None:
    assert content_words("hi cancel it, thank you so much") == [
        "hi",
        "cancel",
        "it",
        "thank",
        "you",
        "so",
        "much",
    ]
    assert content_words("hi, cancel it") == ["cancel", "it"]


def test_ascii_texts_have_the_same_words_beside_other_letters() -> None:
    text = "it's $5_000 for c++ and a+b? 50% off #1!"
    assert content_words(text + " é")[:-1] == content_words(text)


@given(st.text())
def test_every_text_has_a_content_that_is_its_own_fixed_point(text: str) -> None:
    words = content_words(text)
    assert words
    assert content_key(text) == content_key(text.upper().lower()) or text.upper().lower() != text.lower()
    assert content_words(text) == words


@given(st.text(st.characters(codec=None)))
def test_lone_surrogates_and_controls_are_no_obstacle(text: str) -> None:
    assert len(content_key(text)) == 64
