import io
import json

from rich.console import Console

from mailroom.mail.show import render, to_dict
from tests.mail.conftest import Read

RAW = (
    b"From: Ann <ann@example.com>\nSubject: [bold]lamp[/bold]\nMessage-ID: <1@example.com>\n\n"
    b"It is [red]broken[/red].\n\nOn 1/2/2024 10:00, Bob wrote:\n> Is it?\n"
)


def test_render_prints_what_was_taken_out_and_why(read: Read) -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(render(read(RAW), "inbox#1"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for expected in ("inbox#1", "[bold]lamp[/bold]", "It is [red]broken[/red].", "quoted reply", "> Is it?"):
        assert expected in shown


def test_render_strikes_what_is_not_kept(read: Read) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(render(read(RAW), "inbox#1"))
    assert isinstance(console.file, io.StringIO)
    line = next(line for line in console.file.getvalue().splitlines() if "Is it?" in line)
    assert "\x1b[2;9m" in line


def test_dict_is_json_ready_and_whole(read: Read) -> None:
    values = json.loads(json.dumps(to_dict(read(RAW))))
    assert values["id"] == "1@example.com"
    assert values["body"] == "It is [red]broken[/red]."
    assert [segment["kept"] for segment in values["segments"]] == [True, False, False]
    assert set(values) == {
        "id", "subject", "body", "metadata", "received_at", "label", "warnings", "segments", "record",
    }  # fmt: skip
