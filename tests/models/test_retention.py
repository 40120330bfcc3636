"""Old versions go by a setting, and never one that is needed."""

from pathlib import Path

import pytest

from mailroom.errors import ModelError
from mailroom.models.registry import (
    ENCODER_START,
    draft_version,
    list_versions,
    make_manifest,
    publish_version,
)
from mailroom.models.retention import prunable_versions, remove_version, size_bytes


def publish(models: Path, parent: str | None = None, start: str | None = None) -> str:
    trained_from = {} if start is None else {ENCODER_START: start}
    with draft_version(models) as draft:
        (draft / "file").write_bytes(b"1234")
        return publish_version(draft, make_manifest({}, {}, parent, trained_from=trained_from)).id


def test_the_newest_the_one_in_use_and_its_parent_stay(tmp_path: Path) -> None:
    ids = [publish(tmp_path)]
    for _ in range(5):
        ids.append(publish(tmp_path, ids[-1]))
    assert prunable_versions(tmp_path, 2, {ids[2]}) == [ids[0], ids[3]]
    assert prunable_versions(tmp_path, 6, {ids[2]}) == []
    assert prunable_versions(tmp_path, 0, {ids[2]}) == []
    assert prunable_versions(tmp_path, 1, set()) == ids[:-1]


def test_what_their_encoders_were_trained_from_stays_too(tmp_path: Path) -> None:
    first = publish(tmp_path)
    second = publish(tmp_path, first)
    trained = publish(tmp_path, second, start=first)
    current = publish(tmp_path, trained)
    assert prunable_versions(tmp_path, 1, {current}) == [second]
    assert prunable_versions(tmp_path, 1, {trained}) == []


def test_a_version_in_use_that_is_damaged_or_missing_stays_out_of_it(tmp_path: Path) -> None:
    ids = [publish(tmp_path) for _ in range(3)]
    (tmp_path / ids[0] / "manifest.json").write_text("{}")
    assert prunable_versions(tmp_path, 1, {ids[0], "v0099-00000000"}) == [ids[1]]


def test_a_removed_version_is_gone_and_its_number_is_not_given_again(tmp_path: Path) -> None:
    ids = [publish(tmp_path) for _ in range(2)]
    remove_version(tmp_path, ids[0])
    assert list_versions(tmp_path) == [ids[1]]
    assert [path.name for path in tmp_path.iterdir()] == [ids[1]]
    assert publish(tmp_path).startswith("v0003-")
    with pytest.raises(ModelError, match="cannot be removed"):
        remove_version(tmp_path, ids[0])


def test_size_is_that_of_all_files(tmp_path: Path) -> None:
    version = publish(tmp_path)
    manifest = (tmp_path / version / "manifest.json").stat().st_size
    assert size_bytes(tmp_path / version) == 4 + manifest
