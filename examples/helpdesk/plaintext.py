"""What a person wrote and how a mail client sets it as plain text: own words, signature, quoted text.

The source files use a small notation: blank lines part paragraphs, lines of `a | b | c` are a table,
`[text](https://…)` is a link and `[text](track:name)` a link through a mailing service.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def listed(line: str) -> list[str]:
    """A line of words as a list."""
    return line.split()


DAYS = {
    "en": listed("Mon Tue Wed Thu Fri Sat Sun"),
    "de": listed("Mo. Di. Mi. Do. Fr. Sa. So."),
    "fr": listed("lun. mar. mer. jeu. ven. sam. dim."),
    "es": listed("lun mar mié jue vie sáb dom"),
}
MONTHS = {
    "en": listed("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"),
    "de": listed("Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez."),
    "fr": listed("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."),
    "es": listed("ene feb mar abr may jun jul ago sept oct nov dic"),
}
LONG_DAYS = {
    "en": listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "de": listed("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag"),
    "fr": listed("lundi mardi mercredi jeudi vendredi samedi dimanche"),
    "es": listed("lunes martes miércoles jueves viernes sábado domingo"),
}
LONG_MONTHS = {
    "en": listed("January February March April May June July August September October November December"),
    "de": listed("Januar Februar März April Mai Juni Juli August September Oktober November Dezember"),
    "fr": listed("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"),
    "es": listed("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"),
}
GMAIL = {
    "en": "On {day}, {month} {d}, {y} at {h12} {name} <{address}> wrote:",
    "de": "Am {day}, {d}. {month} {y} um {h24} Uhr schrieb {name} <{address}>:",
    "fr": "Le {day} {d} {month} {y} à {h24}, {name} <{address}> a écrit :",
    "es": "El {day}, {d} {month} {y} a las {h24}, {name} (<{address}>) escribió:",
}
APPLE = {
    "en": "On {d} {month} {y}, at {h24}, {name} <{address}> wrote:",
    "de": "Am {dd}.{mm}.{y} um {h24} schrieb {name} <{address}>:",
    "fr": "Le {d} {month} {y} à {h24}, {name} <{address}> a écrit :",
    "es": "El {d} {month} {y}, a las {h24}, {name} <{address}> escribió:",
}
THUNDERBIRD = {
    "en": "On {dd}/{mm}/{y} {h24}, {name} wrote:",
    "de": "Am {dd}.{mm}.{yy} um {h24} schrieb {name}:",
    "fr": "Le {dd}/{mm}/{y} à {h24}, {name} a écrit :",
    "es": "El {dd}/{mm}/{yy} a las {h24}, {name} escribió:",
}
OUTLOOK_FIELDS = {
    "en": ("From:", "Sent:", "To:", "Subject:"),
    "de": ("Von:", "Gesendet:", "An:", "Betreff:"),
    "fr": ("De :", "Envoyé :", "À :", "Objet :"),
    "es": ("De:", "Enviado:", "Para:", "Asunto:"),
}
OUTLOOK_DATES = {
    "en": "{weekday}, {long} {d}, {y} {h12}",
    "de": "{weekday}, {d}. {long} {y} {h24}",
    "fr": "{weekday} {d} {long} {y} {h24}",
    "es": "{weekday}, {d} de {long} de {y} {h24}",
}
FORWARD_HEAD = """\
---------- Forwarded message ---------
From: {name} <{address}>
Date: {day}, {month} {d}, {y} at {h12}
Subject: {subject}
To: {to}
"""


@dataclass(frozen=True)
class Quoted:
    """A message inside a message: answered (`kind` reply) or passed on (`kind` forward)."""

    name: str
    address: str
    to: str
    date: datetime
    subject: str
    body: str
    kind: str = "reply"


@dataclass(frozen=True)
class Written:
    """What one person wrote, before a client makes parts of it."""

    client: str
    lang: str
    body: str
    signature: str = ""
    quoted: Quoted | None = None
    charset: str = "utf-8"
    top: bool = True
    form: dict[str, str] = field(default_factory=dict)


def date_words(when: datetime, lang: str) -> dict[str, str]:
    """The pieces of a date that attribution lines are made of."""
    return {
        "weekday": LONG_DAYS[lang][when.weekday()],
        "day": DAYS[lang][when.weekday()],
        "month": MONTHS[lang][when.month - 1],
        "long": LONG_MONTHS[lang][when.month - 1],
        "d": str(when.day),
        "dd": f"{when.day:02}",
        "mm": f"{when.month:02}",
        "y": str(when.year),
        "yy": f"{when.year % 100:02}",
        "h24": f"{when:%H:%M}",
        "h12": f"{(when.hour - 1) % 12 + 1}:{when:%M} {'AM' if when.hour < 12 else 'PM'}",
    }


def tracking_url(name: str, seed: str) -> str:
    """A long redirecting link such as mailing services write, the same for the same seed."""
    digest = hashlib.sha512(f"{seed}/{name}".encode()).digest()
    token = base64.urlsafe_b64encode(digest * 3).decode().rstrip("=")
    return f"https://click.mailer.example.net/f/a/{token[:22]}~~/{token[22:]}?utm_source=nl&utm_medium=email&utm_campaign={name}"


def url_of(target: str, seed: str) -> str:
    """Where a link of the notation points to."""
    return tracking_url(target.removeprefix("track:"), seed) if target.startswith("track:") else target


def as_read(text: str) -> str:
    """Notation → the text that a reader sees and copies."""
    return LINK.sub(r"\1", text)


def as_plain(text: str) -> str:
    """Notation → what a client puts into the plain part, link targets in angle brackets."""
    return LINK.sub(lambda m: f"{m[1]} <{url_of(m[2], m[1])}>", text)


def attribution(written: Written) -> str:
    """The line or block of header lines that the client puts above quoted text."""
    quoted, family = written.quoted, written.client.split("-")[0]
    assert quoted is not None
    words = date_words(quoted.date, written.lang)
    words |= {"name": quoted.name, "address": quoted.address}
    if quoted.kind == "forward" and family != "outlook":
        return FORWARD_HEAD.format(**words, subject=quoted.subject, to=quoted.to)
    if family == "outlook":
        when = OUTLOOK_DATES[written.lang].format(**words)
        values = (f"{quoted.name} <{quoted.address}>", when, quoted.to, quoted.subject)
        return "\n".join(f"{k} {v}" for k, v in zip(OUTLOOK_FIELDS[written.lang], values, strict=True))
    lines = {"apple": APPLE, "thunderbird": THUNDERBIRD, "mutt": THUNDERBIRD}.get(family, GMAIL)
    return lines[written.lang].format(**words)


def plain(written: Written, write_links: bool = True) -> str:
    """The message as plain text: own words, signature, quoted text, in the client's order."""
    show = as_plain if write_links else as_read
    family = written.client.split("-")[0]
    own = "".join(f"{key}: {value}\n" for key, value in written.form.items())
    own += "\n" if written.form else ""
    own += show(written.body.rstrip("\n"))
    if written.signature:
        mark = "" if family == "outlook" else "-- \n"
        own += f"\n\n{mark}{show(written.signature)}"
    if written.quoted is None:
        return own + "\n"
    text = show(written.quoted.body.rstrip("\n"))
    if family == "outlook":
        return f"{own}\n\n{attribution(written)}\n\n{text}\n"
    if written.quoted.kind == "forward":
        return f"{own}\n\n{attribution(written)}\n\n{text}\n".lstrip("\n")
    cited = "\n".join(
        (f"> {line}" if not line.startswith(">") else f">{line}") if line else ">"
        for line in text.split("\n")
    )
    if written.top:
        return f"{own}\n\n{attribution(written)}\n\n{cited}\n"
    return f"{attribution(written)}\n{cited}\n\n{own}\n"
