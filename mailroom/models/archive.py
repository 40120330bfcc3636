"""A model version → one archive file, and back; every byte is checked on the way out and on the way in.

An archive is an uncompressed tar: `v0001-1a2b3c4d/manifest.json` first, then the files that it names, and
nothing else. Weights do not compress. Label vectors stay behind: they are computed anew where they are used.
"""

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mailroom.errors import ModelError
from mailroom.models.registry import (
    LABEL_VECTORS,
    MANIFEST_NAME,
    FileEntry,
    ModelVersion,
    draft_version,
    load_version,
    manifest_from_bytes,
    version_digest,
)

_BLOCK = 1024 * 1024
# A manifest names some dozens of files; this is far beyond any, and keeps a hostile one out of memory.
_MAX_MANIFEST_BYTES = 16 * 1024 * 1024


def export_version(version: ModelVersion, target: Path, replace: bool = False) -> int:
    """Write the version into the new archive `target`; the bytes written.

    The archive appears whole or not at all. ModelError where a file of the version was changed, where
    `target` exists (unless `replace`), or cannot be written.
    """
    if target.exists() and not replace:
        raise ModelError(f"{target}: exists already; name another file")
    load_version(version.directory, verify=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    except OSError as exc:
        raise ModelError(f"{target}: cannot be written: {exc.strerror}") from exc
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _write(version, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as exc:
        raise ModelError(f"{target}: cannot be written: {exc.strerror}") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return target.stat().st_size


def import_version(archive: Path, models: Path) -> tuple[ModelVersion, bool]:
    """Unpack an archive among the versions in `models`; the version, and whether it was new.

    Only the files that the manifest names are taken, each with the size and sha256 that it states, and the
    manifest must be the one that the version's name vouches for. ModelError says what is wrong; nothing is
    left behind then.
    """
    with _opened(archive) as tar:
        members = iter(tar)
        name, data = _manifest_member(archive, tar, members)
        files = manifest_from_bytes(data, f"{archive}: {name}/{MANIFEST_NAME}", version_digest(name)).files
        target = models / name
        if target.is_dir():
            return load_version(target, verify=True), False
        with draft_version(models) as draft:
            (draft / MANIFEST_NAME).write_bytes(data)
            _unpack(archive, tar, members, name, files, draft)
            (draft / LABEL_VECTORS).mkdir()
            draft.chmod((models.stat().st_mode | 0o700) & 0o777)
            try:
                draft.rename(target)
            except OSError as exc:
                raise ModelError(f"{target}: cannot be made: {exc.strerror}") from exc
    return load_version(target), True


def _write(version: ModelVersion, file: io.BufferedIOBase) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in (MANIFEST_NAME, *sorted(version.manifest.files)):
            path = version.directory / name
            # No owner, no time: the same version always gives the same archive.
            entry = tarfile.TarInfo(f"{version.id}/{name}")
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                tar.addfile(entry, content)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, mode="r:") as tar:
            yield tar
    except tarfile.TarError as exc:
        raise ModelError(
            f"{archive}: expected an archive that `mailroom models export` wrote, got: {exc}"
        ) from exc
    except OSError as exc:
        raise ModelError(f"{archive}: cannot be read: {exc.strerror}") from exc


def _manifest_member(
    archive: Path, tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo]
) -> tuple[str, bytes]:
    first = next(members, None)
    parts = PurePosixPath(first.name).parts if first is not None else ()
    stream = tar.extractfile(first) if first is not None and first.isreg() else None
    if len(parts) != 2 or parts[1] != MANIFEST_NAME or first is None or stream is None:
        raise ModelError(f"{archive}: expected a model version's {MANIFEST_NAME} first, found none")
    if first.size > _MAX_MANIFEST_BYTES:
        raise ModelError(f"{archive}: {first.name} has {first.size:,} bytes, which no manifest has")
    return parts[0], stream.read()


def _unpack(
    archive: Path,
    tar: tarfile.TarFile,
    members: Iterator[tarfile.TarInfo],
    version: str,
    files: Mapping[str, FileEntry],
    draft: Path,
) -> None:
    missing = dict(files)
    for member in members:
        name = member.name.removeprefix(f"{version}/")
        # A name is taken from the manifest, never from the archive alone: no way out of the folder.
        entry = missing.pop(name, None)
        if entry is None or not member.isreg() or not _stays_inside(name):
            raise ModelError(
                f"{archive}: holds {member.name!r}, which its manifest does not name; not imported"
            )
        if member.size != entry.bytes:
            raise ModelError(f"{archive}: {name}: expected {entry.bytes} bytes, got {member.size}")
        _copy(archive, tar, member, entry, draft / name)
    if missing:
        raise ModelError(f"{archive}: lacks {min(missing)}; it was cut short: fetch it again")


def _copy(
    archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, entry: FileEntry, target: Path
) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise ModelError(f"{archive}: {member.name}: expected a file, found none")
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != entry.sha256:
        raise ModelError(f"{archive}: {member.name} was changed: its sha256 is not the manifest's")


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts[0] != LABEL_VECTORS
