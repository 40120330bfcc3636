import pytest

from mailroom.config import MailSettings
from mailroom.mail.read import read_email
from mailroom.mail.sources import Message
from tests.mail.conftest import Read

QUOTE = "My parcel has not arrived.\nWhere is it?"


def body(read: Read, text: str, headers: str = "") -> str:
    return read(f"From: Ann Lee <ann@example.com>\n{headers}\n{text}".encode()).email.body


@pytest.mark.parametrize(
    "text",
    [
        "cancel my order",
        "thanks!",
        "Thanks,\nBob",
        "please unsubscribe me from your list",
        "Von meinem Konto wurde doppelt abgebucht",
        "Please send it to:\n\nAnn Lee\n12 High Street\nphone: 555-123-4567\nmail: a@example.com",
        "From: Paris\nTo: Rome\nDate: 3 May\nPlease book this flight.",
        "My boss wrote: you must cancel the contract today.",
        "Order list:\n- two chairs\n- one table\n\nDeliver on Monday.",
        "The total was 5 -- not 6 -- as stated.",
        "Changes:\n\n-------------\nComment by bob@example.com\nThe build fails when the file is not there.",
        "Sources:\n\n[1] http://example.com/a\n[2] http://example.com/b",
        "Best regards\nI wrote this on my way to the shop, and now the lamp does not work.",
        "On Monday I wrote to you about the invoice.\nNothing happened.",
    ],
)
def test_own_words_are_untouched(read: Read, text: str) -> None:
    assert body(read, text) == text


@pytest.mark.parametrize(
    "header",
    [
        "On Mon, Apr 2, 2012 at 6:26 PM, Bob <bob@example.com> wrote:",
        "On Mon, Apr 2, 2012 at 6:26 PM, Bob\n<bob@example.com>\nwrote:",
        "Am 02.04.2012 um 18:26 schrieb Bob Ray <bob@example.com>:",
        "Dne 2. 4. 2012 v 18:26 Bob Ray <bob@example.com> napsal(a):",
        "Den 2. apr. 2012 kl. 18.26 skrev Bob Ray <bob@example.com>:",
        "El lun, 2 abr 2012 a las 18:26, Bob (<bob@example.com>) escribió:",
        "Le lun. 2 avr. 2012 à 18:26, Bob Ray <bob@example.com> a écrit :",
        "Il giorno lun 2 apr 2012 alle ore 18:26 Bob <bob@example.com> ha scritto:",
        "2012年4月2日(月) 18:26 Bob Ray <bob@example.com>:",
        "2012년 4월 2일 (월) 오후 6:26, Bob Ray <bob@example.com>님이 작성하였습니다:",
        "Op ma 2 apr. 2012 om 18:26 schreef Bob Ray <bob@example.com>:",
        "W dniu 2.04.2012 o 18:26, Bob Ray <bob@example.com> napisał:",
        "Den 2 apr. 2012 18:26 skrev Bob Ray <bob@example.com>:",
        "Bob Ray <bob@example.com> 于2012年4月2日周一 18:26写道：",
        "Em seg., 2 de abr. de 2012 às 18:26, Bob <bob@example.com> escreveu:",
        "пн, 2 апр. 2012 г. в 18:26, Bob Ray <bob@example.com>:",
        "-----Original Message-----\nFrom: Bob Ray <bob@example.com>\nSent: Monday 6:26 PM\nSubject: parcel",
        "-----Ursprüngliche Nachricht-----\nVon: Bob Ray <bob@example.com>\nGesendet: Montag\nBetreff: Paket",
        "________________________________\nDe : Bob Ray <bob@example.com>\nEnvoyé : lundi\nObjet : colis",
        "De: Bob Ray <bob@example.com>\nEnviado el: lunes\nPara: Ann\nAsunto: paquete",
        "Da: Bob Ray <bob@example.com>\nInviato: lunedì\nA: Ann\nOggetto: pacco",
        "Van: Bob Ray <bob@example.com>\nVerzonden: maandag\nAan: Ann\nOnderwerp: pakket",
        "Od: Bob Ray <bob@example.com>\nWysłano: poniedziałek\nDo: Ann\nTemat: paczka",
        "发件人: Bob Ray <bob@example.com>\n发送时间: 2012年4月2日\n收件人: Ann\n主题: 包裹",
    ],
)
@pytest.mark.parametrize("prefix", ["", "> "])
def test_quoted_reply_is_removed_in_every_language(read: Read, header: str, prefix: str) -> None:
    quoted = "\n".join(prefix + line for line in QUOTE.splitlines())
    text = f"It left our house yesterday.\n\n{header}\n\n{quoted}\n"
    assert body(read, text, "Content-Type: text/plain; charset=utf-8\n") == "It left our house yesterday."


def test_interleaved_answers_stay_whole(read: Read) -> None:
    text = "On 1/2/2024 10:00, Bob wrote:\n> When?\nOn Monday.\n\n> Where?\nAt the station.\n"
    assert body(read, text) == "On Monday.\n\nAt the station."


def test_usenet_quote_marks_are_known(read: Read) -> None:
    text = "Bob (bob@example.com) wrote:\n: is it new?\n: how much?\n\nNew, and 5 dollars.\n"
    assert body(read, text) == "New, and 5 dollars."


def test_quote_is_kept_where_nothing_else_is_there(read: Read) -> None:
    assert body(read, "On 1/2/2024 10:00, Bob wrote:\n> Please cancel it.\n") == "Please cancel it."
    assert body(read, "Best regards\nAnn Lee") == "Best regards\nAnn Lee"


@pytest.mark.parametrize(
    "text",
    [
        "---------- Forwarded message ---------\nFrom: Bob <bob@example.com>\nDate: Mon, 1 Jan\n"
        "Subject: broken\nTo: Ann <ann@example.com>\n\nThe lamp is broken.",
        "Begin forwarded message:\n\n> From: Bob <bob@example.com>\n> Subject: broken\n> Date: 1 Jan\n> \n"
        "> The lamp is broken.",
        "-----Weitergeleitete Nachricht-----\nVon: Bob <bob@example.com>\nBetreff: kaputt\n\n"
        "The lamp is broken.",
    ],
)
def test_forwarded_text_is_kept_without_its_header(read: Read, text: str) -> None:
    assert body(read, f"Can you help him?\n\n{text}") == "Can you help him?\n\nThe lamp is broken."


def test_outlook_forward_is_told_by_the_subject(read: Read) -> None:
    header = "From: Bob <bob@example.com>\nSent: Monday\nTo: Ann\nSubject: broken"
    text = f"See below.\n\n{header}\n\nThe lamp is broken."
    assert body(read, text, "Subject: FW: broken\n") == "See below.\n\nThe lamp is broken."
    assert body(read, text, "Subject: RE: broken\n") == "See below."


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nAnn Lee\nACME Corp\n+49 30 1234567",
        "Best regards,\nAnn Lee\nACME Corp",
        "Mit freundlichen Grüßen\nAnn Lee",
        "Cordialement,\nAnn Lee",
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Ann Lee\nann@example.com\n(555) 346-9947",
        "====================\nAnn Lee  ann@example.com\n====================",
    ],
)
def test_signature_is_removed(read: Read, signature: str) -> None:
    text = f"The lamp is broken.\n\n{signature}\n"
    assert body(read, text, "Content-Type: text/plain; charset=utf-8\n") == "The lamp is broken."


def test_disclaimer_and_boilerplate_are_removed(read: Read) -> None:
    disclaimer = "This email and any files transmitted with it are confidential and meant for you."
    text = f"The lamp is broken.\n\n{disclaimer}\n\nUnsubscribe\n"
    result = read(f"From: a@example.com\n\n{text}".encode())
    assert result.email.body == "The lamp is broken."
    assert {segment.reason for segment in result.segments if not segment.kept} == {
        "disclaimer",
        "mailing boilerplate",
    }


def test_long_urls_shrink_to_their_host(read: Read) -> None:
    url = "https://www.shop.example.com/track/" + "x" * 80
    result = read(f"From: a@example.com\n\nSee {url}, and https://example.com/help.\n".encode())
    assert result.email.body == "See shop.example.com, and https://example.com/help."
    assert any(segment.text.strip() == url and segment.reason == "long URL" for segment in result.segments)


@pytest.mark.parametrize(
    "lump",
    [
        "begin 644 a.gif\n" + "M" + "A" * 60 + "\n#ABC\n`\nend",
        "=ybegin line=128 size=9 name=a\n*+,-./\n=yend size=9",
        "\n".join(["QUJD" * 18] * 4),
        "-----BEGIN PGP SIGNATURE-----\n\niQEzBAEB\n=abcd\n-----END PGP SIGNATURE-----",
    ],
)
def test_encoded_lumps_are_dropped(read: Read, lump: str) -> None:
    result = read(f"From: a@example.com\n\nHere it is.\n\n{lump}\n\nDone.\n".encode())
    assert result.email.body == "Here it is.\n\nDone."
    assert "encoded data" in {segment.reason for segment in result.segments}


def test_segments_hold_every_line_once(read: Read) -> None:
    text = "Own.\n\nOn 1/2/2024 10:00, Bob wrote:\n> q\n\n-- \nAnn"
    segments = read(f"From: a@example.com\n\n{text}".encode()).segments
    assert [line.strip() for segment in segments for line in segment.text.split("\n")] == [
        line.strip() for line in text.split("\n")
    ]


def test_json_body_is_cleaned_and_label_kept(limits: MailSettings) -> None:
    row = (
        b'{"id": "r 1", "subject": " Hi\\n you", "body": "Yes.\\n\\nOn 1/2/2024 10:00, B wrote:\\n> Really?",'
    )
    row += b' "label": "x", "path": ["a", "b"], "metadata": {"date": "2024-01-02T03:04:05+02:00"}}'
    result = read_email(Message("m:1", "json", row, 0, False), limits)
    assert (result.email.id, result.email.subject, result.email.body) == ("r1", "Hi you", "Yes.")
    assert (result.label, result.record) == ("x", {"path": ["a", "b"]})
    assert result.email.received_at is not None
    assert result.email.received_at.isoformat() == "2024-01-02T01:04:05+00:00"


def test_an_automatic_answer_keeps_what_it_says_beside_its_boilerplate() -> None:
    raw = (
        b"From: robot@example.org\nSubject: Received\nPrecedence: bulk\n\n"
        b"Your enquiry 7729 will be answered within 3 days. Please do not reply to this message."
        b"\n\nUnsubscribe | manage preferences\n"
    )
    message = Message("test", "rfc822", raw, len(raw), False, None)
    body = read_email(message, MailSettings()).email.body
    assert "answered within 3 days" in body
    assert "Unsubscribe" not in body


def test_a_disclaimer_of_one_sentence_goes_and_a_request_about_one_stays() -> None:
    def body(last: str) -> str:
        raw = f"From: a@example.org\nSubject: x\n\nWhere is my order?\n\n{last}\n".encode()
        return read_email(Message("test", "rfc822", raw, len(raw), False, None), MailSettings()).email.body

    assert "addressee" not in body("This e-mail is confidential and intended only for the addressee.")
    request = "I got a confidential e-mail that was intended only for Anna, what shall I do?"
    assert request in body(request)


def test_what_people_see_besides_is_known_with_its_place(read: Read) -> None:
    quote = "On Mon, 1 Jan 2024, Ben wrote:\n> It was sent."
    text = f"Where is it?\n\n{quote}\n\nIt is not here.\n\n-- \nAnn Lee\nSales"
    found = read(f"From: Ann Lee <ann@example.com>\n\n{text}".encode())
    assert found.email.body == "Where is it?\n\nIt is not here."
    assert [(aside.after_lines, aside.reason) for aside in found.asides] == [
        (1, "reply header"),
        (1, "quoted reply"),
        (2, "signature"),
    ]
    assert found.asides[1].text == "> It was sent."


def test_what_nobody_sees_is_no_aside(read: Read) -> None:
    hidden = "<p>Where is it?</p><p style='display:none'>unseen words here</p>"
    found = read(f"Content-Type: text/html\n\n{hidden}".encode())
    assert found.email.body == "Where is it?"
    assert found.asides == ()
