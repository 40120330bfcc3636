"""Archives of model versions: the same bytes on the other side, and nothing that was not vouched for."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mailroom.errors import ModelError
from mailroom.models.archive import export_version, import_version
from mailroom.models.label_vectors import save_label_vectors
from mailroom.models.registry import load_version, write_manifest
from tests.models.test_registry import publish

Member = tuple[tarfile.TarInfo, bytes]


def members(archive: Path) -> list[Member]:
    with tarfile.open(archive) as tar:
        found = []
        for entry in tar:
            stream = tar.extractfile(entry)
            found.append((entry, b"" if stream is None else stream.read()))
        return found


def rewrite(archive: Path, change: Callable[[list[Member]], list[Member]]) -> None:
    changed = change(members(archive))
    with tarfile.open(archive, "w") as tar:
        for entry, data in changed:
            if entry.isreg():
                entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def test_a_version_travels_byte_for_byte(tmp_path: Path) -> None:
    version = publish(tmp_path / "here")
    size = export_version(version, tmp_path / "a.tar")
    assert size == (tmp_path / "a.tar").stat().st_size
    imported, is_new = import_version(tmp_path / "a.tar", tmp_path / "there")
    assert is_new
    assert imported.id == version.id
    assert load_version(imported.directory, verify=True).manifest == version.manifest
    for name in version.manifest.files:
        assert (imported.directory / name).read_bytes() == (version.directory / name).read_bytes()


def test_the_same_version_gives_the_same_archive_without_label_vectors(tmp_path: Path) -> None:
    import numpy as np

    version = publish(tmp_path / "here")
    export_version(version, tmp_path / "a.tar")
    assert save_label_vectors(version, "abc", np.ones((2, 3), dtype=np.float32))
    export_version(version, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    export_version(publish(tmp_path / "here"), tmp_path / "a.tar")
    assert import_version(tmp_path / "a.tar", tmp_path / "there")[1]
    assert not import_version(tmp_path / "a.tar", tmp_path / "there")[1]
    assert len(list((tmp_path / "there").iterdir())) == 1


def test_an_archive_is_not_written_over_unless_asked(tmp_path: Path) -> None:
    version = publish(tmp_path / "here")
    (tmp_path / "a.tar").write_bytes(b"something else")
    with pytest.raises(ModelError, match="exists already"):
        export_version(version, tmp_path / "a.tar")
    export_version(version, tmp_path / "a.tar", replace=True)
    assert import_version(tmp_path / "a.tar", tmp_path / "there")[0].id == version.id


def test_a_damaged_version_is_not_exported(tmp_path: Path) -> None:
    version = publish(tmp_path / "here")
    (version.directory / "bi_encoder" / "tokenizer.json").write_bytes(b"graphtokenizer.jsoN")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        export_version(version, tmp_path / "a.tar")
    assert not list(tmp_path.glob("*a.tar*"))


def _changed_byte(found: list[Member]) -> list[Member]:
    return [*found[:-1], (found[-1][0], b"X" + found[-1][1][1:])]


def _cut_short(found: list[Member]) -> list[Member]:
    return found[:-1]


def _longer(found: list[Member]) -> list[Member]:
    return [*found[:-1], (found[-1][0], found[-1][1] + b"more")]


def _changed_manifest(found: list[Member]) -> list[Member]:
    return [(found[0][0], found[0][1].replace(b"embedded", b"embeddeb")), *found[1:]]


def _stranger(found: list[Member]) -> list[Member]:
    return [*found, (tarfile.TarInfo(found[0][0].name.replace("manifest.json", "run.sh")), b"echo")]


def _outside(found: list[Member]) -> list[Member]:
    return [*found, (tarfile.TarInfo("../../outside"), b"x")]


def _link(found: list[Member]) -> list[Member]:
    link = tarfile.TarInfo(found[-1][0].name)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [*found[:-1], (link, b"")]


def _manifest_last(found: list[Member]) -> list[Member]:
    return [*found[1:], found[0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed_byte, "was changed"),
        (_cut_short, "lacks"),
        (_longer, "expected"),
        (_changed_manifest, "was changed"),
        (_stranger, "does not name"),
        (_outside, "does not name"),
        (_link, "does not name"),
        (_manifest_last, "first, found none"),
        (lambda _: [], "first, found none"),
    ],
)
def test_what_was_changed_on_the_way_is_refused_and_leaves_nothing(
    tmp_path: Path, change: Callable[[list[Member]], list[Member]], message: str
) -> None:
    export_version(publish(tmp_path / "here"), tmp_path / "a.tar")
    rewrite(tmp_path / "a.tar", change)
    with pytest.raises(ModelError, match=message):
        import_version(tmp_path / "a.tar", tmp_path / "there")
    assert not (tmp_path / "there").exists() or not list((tmp_path / "there").iterdir())
    assert not (tmp_path / "outside").exists()


def test_a_manifest_that_names_a_place_outside_is_refused(tmp_path: Path) -> None:
    version = publish(tmp_path / "here")
    from dataclasses import replace

    files = {**version.manifest.files, "../../outside": version.manifest.files["bi_encoder/tokenizer.json"]}
    draft = tmp_path / "draft"
    draft.mkdir()
    digest = write_manifest(draft, replace(version.manifest, files=files))
    content = (version.directory / "bi_encoder" / "tokenizer.json").read_bytes()
    name = f"v0001-{digest}"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path, data in (
            ("manifest.json", (draft / "manifest.json").read_bytes()),
            ("../../outside", content),
        ):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    with pytest.raises(ModelError, match="does not name"):
        import_version(tmp_path / "a.tar", tmp_path / "there")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\0" * 10_240])
def test_another_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.tar: expected"):
        import_version(tmp_path / "a.tar", tmp_path / "there")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        import_version(tmp_path / "none.tar", tmp_path / "there")
