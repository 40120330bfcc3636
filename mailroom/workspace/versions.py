"""The model versions of a workspace: what there is, which one answers, and every change of that."""

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailroom.cycle.promote import prunable
from mailroom.errors import ModelError
from mailroom.models.archive import export_version, import_version
from mailroom.models.lexical import LEXICAL_NAME
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.registry import ModelVersion, list_versions, load_version
from mailroom.models.retention import remove_version, size_bytes
from mailroom.store.promotions import Promotion, before_current
from mailroom.workspace.workspace import CYCLES, MODELS, Workspace

CURRENT = "current"
PREVIOUS = "previous"

_NUMBER = re.compile(r"v?(\d+)")
_REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version as a list shows it; `problem` says why it cannot be used, else None."""

    id: str
    is_current: bool
    size_bytes: int
    version: ModelVersion | None
    promotion: Promotion | None
    problem: str | None

    @property
    def is_refused(self) -> bool:
        """Whether the gate refused it, and nobody promoted it since."""
        return self.promotion is None and self.version is not None and bool(self.version.refused)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        manifest = self.version.manifest if self.version is not None else None
        return {
            "id": self.id,
            "is_current": self.is_current,
            "created_at": manifest.created_at if manifest else None,
            "parent": manifest.parent if manifest else None,
            "decided_by": _decided_by(self.version) if self.version else None,
            "cross_encoder_kind": self.version.cross_encoder_kind if self.version else None,
            "metrics": dict(manifest.metrics) if manifest else None,
            "refused": list(self.version.refused) if self.version else [],
            "size_bytes": self.size_bytes,
            "last_promotion": self.promotion.to_dict() if self.promotion else None,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """What tells two versions apart.

    `fields` maps a manifest field to (one, other), `files` a file to `added`, `removed` or `changed`.
    """

    one: str
    other: str
    fields: Mapping[str, tuple[Any, Any]]
    files: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values; a field is `[one, other]`."""
        fields = {name: list(values) for name, values in self.fields.items()}
        return {"one": self.one, "other": self.other, "fields": fields, "files": dict(self.files)}

    def rows(self) -> list[tuple[str, str, str]]:
        """(dotted name, one, other) of every single value that differs, then the files, as texts."""
        found: list[tuple[str, str, str]] = []
        for name, (one, other) in self.fields.items():
            before, after = dict(flat_rows(name, one)), dict(flat_rows(name, other))
            found += [
                (key.replace("_", " "), before.get(key, ""), after.get(key, ""))
                for key in before | after
                if before.get(key) != after.get(key)
            ]
        for file, change in self.files.items():
            found.append((file, "" if change == "added" else change, change if change == "added" else ""))
        return found


class Versions:
    """The versions of one workspace and the log of their promotions."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.directory = workspace.root / MODELS

    def current(self) -> str | None:
        """The version that answers, or None before the first promotion."""
        return self._workspace.promotions.current()

    def rows(self) -> list[VersionRow]:
        """Every version on disk, oldest first, and the current one even where it is missing."""
        history = self._workspace.promotions.history()
        last = {promotion.version: promotion for promotion in history}
        current = history[-1].version if history else None
        ids = list_versions(self.directory)
        if current is not None and current not in ids:
            ids.append(current)
        return [self._row(version_id, current, last.get(version_id)) for version_id in ids]

    def history(self) -> list[Promotion]:
        """Every promotion, oldest first."""
        return self._workspace.promotions.history()

    def find(self, name: str) -> ModelVersion:
        """The version by its id, its number, the beginning of its id, `current` or `previous`; ModelError."""
        return load_version(self.directory / self._id(name))

    def report(self, version: ModelVersion) -> Path | None:
        """The page that the learning cycle which made it left here, or None."""
        try:
            cycle = uuid.UUID(str(version.manifest.trained_from.get("cycle")))
        except ValueError:
            return None
        path = self._workspace.root / CYCLES / str(cycle) / _REPORT
        return path if path.is_file() else None

    def diff(self, one: str, other: str) -> Difference:
        """What tells two versions apart."""
        first, second = self.find(one), self.find(other)
        before, after = first.manifest, second.manifest
        names = (
            "created_at",
            "parent",
            "base_models",
            "precision",
            "parity",
            "metrics",
            "trained_from",
            "mailroom",
        )
        pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
        files = {
            name: "added" if name not in before.files else "removed" if name not in after.files else "changed"
            for name in sorted({*before.files, *after.files})
            if before.files.get(name) != after.files.get(name)
        }
        return Difference(first.id, second.id, {k: v for k, v in pairs.items() if v[0] != v[1]}, files)

    def promote(self, name: str, by: str, reason: str, force: bool = False) -> Promotion:
        """Make a version the current one, once every file of it was checked; ModelError, else in one step.

        One that the gate refused takes `force`.
        """
        found = load_version(self.find(name).directory, verify=True)
        if found.refused and not force:
            raise ModelError(
                f"{found.id} was refused by the gate: {'; '.join(found.refused)}; "
                "`mailroom models promote --force` promotes it all the same"
            )
        if found.id == self.current():
            raise ModelError(f"{found.id} is the current version already")
        return self._workspace.promotions.promote(found.id, by, reason)

    def rollback(self, by: str, reason: str) -> Promotion:
        """Go back to the version that answered before the current one; ModelError where there is none."""
        current = self.current()
        target = load_version(self.directory / self._id(PREVIOUS), verify=True)
        return self._workspace.promotions.promote(target.id, by, reason, instead_of=current)

    def export(self, name: str, target: Path, replace: bool = False) -> tuple[str, int]:
        """Write a version into one archive file; its id and the bytes written."""
        version = self.find(name)
        return version.id, export_version(version, target, replace)

    def import_(self, archive: Path) -> tuple[ModelVersion, bool]:
        """Take a version from an archive; it answers nothing until it is promoted."""
        return import_version(archive, self.directory)

    def prunable(self, keep: int | None = None) -> list[str]:
        """Old versions that the setting, or `keep`, lets go.

        Never the current one, its parent, or the one that a rollback restores.
        """
        settings = self._workspace.settings.models
        if keep is not None:
            settings = replace(settings, keep_versions=keep)
        return prunable(self.directory, self._workspace.promotions.history(), settings)

    def prune(self, keep: int | None = None) -> list[str]:
        """Remove what `prunable` names."""
        removed = self.prunable(keep)
        for version in removed:
            remove_version(self.directory, version)
        return removed

    def _row(self, version_id: str, current: str | None, promotion: Promotion | None) -> VersionRow:
        directory = self.directory / version_id
        size = size_bytes(directory)
        try:
            version, problem = load_version(directory), None
        except ModelError as exc:
            version, problem = None, str(exc)
        return VersionRow(version_id, version_id == current, size, version, promotion, problem)

    def _id(self, name: str) -> str:
        if name == CURRENT:
            return self._workspace.version.id
        if name == PREVIOUS:
            previous = before_current(self._workspace.promotions.history())
            if previous is None:
                raise ModelError(
                    "expected a version before the current one, found none; nothing to go back to"
                )
            return previous
        ids = list_versions(self.directory)
        number = _NUMBER.fullmatch(name)
        found = [
            version
            for version in ids
            if version.startswith(name) or (number and int(version[1:].partition("-")[0]) == int(number[1]))
        ]
        if name in ids or len(found) == 1:
            return name if name in ids else found[0]
        if found:
            raise ModelError(f"{name!r} means any of {', '.join(found)}; name one of them")
        raise ModelError(f"expected a model version, got {name!r}; `mailroom models list` shows them all")


def ranked_by(files: Collection[str]) -> str:
    """What retrieval ranks labels by, from the names of a version's files."""
    vectors = "label vectors that learned" if PROTOTYPES_NAME in files else "label texts"
    return f"cosine to {vectors}" + (", and words" if LEXICAL_NAME in files else "")


def flat_rows(name: str, value: Any) -> list[tuple[str, str]]:
    """A nested value as rows of (dotted name, text); lists stay on one line."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat_rows(f"{name}.{key}", inner)]
    if isinstance(value, float):
        return [(name, f"{value:.4g}")]
    return [] if value is None else [(name, str(value))]


def _decided_by(version: ModelVersion) -> str:
    return "cross_encoder" if version.has_cross_encoder else "retrieval"
