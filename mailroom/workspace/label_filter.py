"""What a person types as a label → the labels whose predictions are meant."""

import difflib

from mailroom.errors import DataError
from mailroom.records import OUTSIDE
from mailroom.workspace.workspace import Workspace


def labels_meant(text: str, workspace: Workspace) -> tuple[str, ...]:
    """One label by id, name or path; a group stands for all below it; a retired one and OUTSIDE go by id.

    DataError where nothing of that name is in the taxonomy or in the log.
    """
    if text == OUTSIDE:
        return (OUTSIDE,)
    taxonomy = workspace.taxonomy
    found = taxonomy.resolve(text)
    if found is not None:
        below = {label.id for label in taxonomy.assignable if found in taxonomy.ancestors(label.id)}
        return tuple(sorted({found.id} | below))
    logged = workspace.log.count_by_label()
    if text in logged:
        return (text,)
    close = difflib.get_close_matches(text, [*logged, *(label.id for label in taxonomy.labels)], 1)
    hint = f"; did you mean {close[0]}?" if close else "; `mailroom taxonomy tree` shows them all"
    raise DataError(f"expected a label of the taxonomy, got {text!r}{hint}")
