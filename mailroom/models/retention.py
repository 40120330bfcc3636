"""Published versions and those in use → which old ones may go, and their removal."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from mailroom.errors import ModelError
from mailroom.models.registry import DRAFT_PREFIX, ModelVersion, list_versions, load_version


def prunable_versions(
    models: Path,
    keep: int,
    in_use: Collection[str],
    was_promoted: Callable[[str], bool] = lambda _: False,
    keep_refused: int = 0,
) -> list[str]:
    """Versions beyond the newest `keep`, oldest first; 0 keeps all.

    Of those that the gate refused, and that never `was_promoted`, the newest `keep_refused` stay, beside the
    others. Never one in `in_use`, nor the parent of one, nor what either's encoder was trained from.
    """
    found = [_opened(models, version) for version in in_use]
    parents = [one.manifest.parent for one in found if one is not None and one.manifest.parent]
    found += [_opened(models, parent) for parent in parents]
    starts = [one.encoder_start for one in found if one is not None and one.encoder_start]
    safe = {*in_use, *parents, *starts}
    versions = list_versions(models)
    refused = [one for one in versions if not was_promoted(one) and is_refused(models / one)]
    others = [one for one in versions if one not in refused]
    old = {*(refused[:-keep_refused] if keep_refused else refused), *(others[:-keep] if keep > 0 else ())}
    return [version for version in versions if version in old - safe]


def _opened(models: Path, version: str) -> ModelVersion | None:
    """The version; None for a damaged one, which names nothing that can be trusted."""
    try:
        return load_version(models / version)
    except ModelError:
        return None


def is_refused(directory: Path) -> bool:
    """Whether a version was made of a challenger that the gate refused; a damaged one says nothing."""
    version = _opened(directory.parent, directory.name)
    return version is not None and bool(version.refused)


def remove_version(models: Path, version: str) -> None:
    """Remove a version: it is gone at once, and its files after that, whatever interrupts."""
    trash = models / f"{DRAFT_PREFIX}removed-{version}"
    try:
        (models / version).rename(trash)
    except OSError as exc:
        raise ModelError(f"{models / version}: cannot be removed: {exc.strerror}") from exc
    shutil.rmtree(trash, ignore_errors=True)


def size_bytes(directory: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
