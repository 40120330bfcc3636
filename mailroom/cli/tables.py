"""Predictions as rows for people: fixed columns, so that they can stream."""

import shutil
import unicodedata
from collections.abc import Callable
from typing import IO

from mailroom.records import Prediction

# Below this width the subject would be a stump; a pipe has no width and gets room.
NARROWEST, WIDEST = 80, 200
MIN_LABEL_WIDTH, MIN_SUBJECT_WIDTH = 20, 8
# Probability, margin and mark, with the blanks between.
_FIXED_WIDTH = 23
# The digits of a prediction's id that are shown and taken: its end, since the ids of a day begin alike.
ID_WIDTH = 8
DIM, YELLOW, BOLD, RESET = "\033[2m", "\033[33m", "\033[1m", "\033[0m"


def prediction_rows(stream: IO[str], with_ids: bool = False) -> Callable[[Prediction, str], str]:
    """A function (prediction, subject) → one line; colours only where `stream` is a terminal.

    `with_ids` begins it with the last digits of the prediction's id, by which `correct` knows it.
    """
    is_terminal = stream.isatty()
    label_width, subject_width = row_widths(_FIXED_WIDTH + (ID_WIDTH + 1 if with_ids else 0))

    def row(prediction: Prediction, subject: str) -> str:
        path = fit(" › ".join(prediction.path), label_width, keep_end=True)
        mark = _mark(prediction)
        shown = fit(printable(subject) or "(no subject)", subject_width).rstrip()
        name = f"{prediction.id[-ID_WIDTH:]} " if with_ids else ""
        if not is_terminal:
            return f"{name}{path} {prediction.probability:4.0%} {prediction.margin:+6.2f} {mark}  {shown}"
        tone = YELLOW if prediction.needs_review else ""
        return (
            f"{name}{BOLD}{path}{RESET} {tone}{prediction.probability:4.0%}{RESET} "
            f"{DIM}{prediction.margin:+6.2f}{RESET} {tone}{mark}{RESET}  {DIM}{shown}{RESET}"
        )

    return row


def _mark(prediction: Prediction) -> str:
    """Of a foreign email that too: no label fits, so the label is not worth much."""
    if "out_of_taxonomy" in prediction.review_reasons:
        return "outside"
    return "review " if prediction.needs_review else "       "


def print_heading(stream: IO[str], with_ids: bool = False) -> None:
    """Name the columns of `prediction_rows` on a terminal; a pipe gets rows alone, for other programs."""
    if stream.isatty():
        label_width, _ = row_widths(_FIXED_WIDTH + (ID_WIDTH + 1 if with_ids else 0))
        name = "id".ljust(ID_WIDTH + 1) if with_ids else ""
        print(f"{DIM}{name}{fit('label', label_width)} prob margin review   subject{RESET}", file=stream)


def row_widths(fixed: int) -> tuple[int, int]:
    """Cells for the label and for the subject of a row in which the other columns take `fixed`."""
    width = max(NARROWEST, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
    label_width = min(width * 2 // 5, max(MIN_LABEL_WIDTH, (width - fixed) * 3 // 5))
    return label_width, max(MIN_SUBJECT_WIDTH, width - label_width - fixed)


def printable(text: str) -> str:
    """Text on one line with control characters taken out, so that mail cannot drive the terminal."""
    kept = "".join(char if unicodedata.category(char)[0] != "C" else " " for char in text)
    return " ".join(kept.split())


def visible(text: str) -> str:
    """Text whose line breaks stay and whose other control characters are shown by their codes."""
    return "".join(
        char if char == "\n" or unicodedata.category(char)[0] != "C" else ascii(char)[1:-1] for char in text
    )


def fit(text: str, width: int, keep_end: bool = False) -> str:
    """`text` in exactly `width` terminal cells: padded, or cut with an ellipsis at one end."""
    cells = [_cells(char) for char in text]
    if sum(cells) <= width:
        return text + " " * (width - sum(cells))
    chars = list(text)
    room = width - 1
    while chars and sum(cells) > room:
        position = 0 if keep_end else -1
        chars.pop(position)
        cells.pop(position)
    padding = " " * (room - sum(cells))
    return ("…" + "".join(chars) if keep_end else "".join(chars) + "…") + padding


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
