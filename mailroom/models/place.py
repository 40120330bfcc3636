"""A folder of model files → the same again elsewhere, by links where the disk has them."""

import os
import shutil
from pathlib import Path

from mailroom.errors import ModelError


def place(source: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    """Make `target` of all files of `source` but those named; an unchanged model costs no space.

    What is linked must not be written to, only replaced. ModelError where it cannot be made.
    """
    try:
        shutil.copytree(
            source, target, copy_function=_link_or_copy, ignore=lambda _, names: set(without) & set(names)
        )
    except (OSError, shutil.Error) as exc:
        raise ModelError(f"{source}: cannot be copied to {target}: {exc}") from exc


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
