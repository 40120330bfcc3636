"""Model versions on disk: build one aside, publish it at once, open it only if no byte has changed.

    models/v0001-1a2b3c4d/  manifest.json  bi_encoder/  cross_encoder/ (optional)  label_vectors/
                            prototypes.npz, lexical.npz (optional: what labels learned from examples)

The version's name ends in the digest of its manifest, and the manifest holds the digest of every file:
the name vouches for all of them. Which version is current stands in the store, not here.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailroom import __version__
from mailroom.errors import ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import CrossEncoder, load_cross_encoder
from mailroom.models.encoder_config import CONFIG_NAME, GRAPH_NAMES, TOKENIZER_NAME, read_config_fields
from mailroom.models.lexical import LEXICAL_NAME, Lexical, load_lexical
from mailroom.models.prototypes import PROTOTYPES_NAME, Prototypes, load_prototypes
from mailroom.models.runtime import Precision
from mailroom.models.sources import sha256_of

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = 1
BI_ENCODER = "bi_encoder"
CROSS_ENCODER = "cross_encoder"
# Where `trained_from` names the version with whose encoder the training of this one's began.
ENCODER_START = "encoder_start"
LABEL_VECTORS = "label_vectors"

# Folders of this prefix are no versions: one is being built there, or removed.
DRAFT_PREFIX = ".draft-"

_VERSION_NAME = re.compile(r"v(\d{4,})-([0-9a-f]{8})")
_DRAFT_LIFETIME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a version."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version is made of; all of it is covered by the digest in the version's name.

    `base_models` and `precision` are keyed by encoder folder, `parity` too (figures of the int8 gate);
    `metrics` and `trained_from` are whatever the maker of the version wants to remember. `shared_reading`
    says by precision whether the cross-encoder's reading of an email may stand for the bi-encoder's.
    `calibration` has `temperature_factor`, by which the temperature of the last stage is multiplied, and,
    where its cycle could fit them, `review_below_probability` and `outside_above`, beyond which it marks.
    """

    created_at: str
    parent: str | None
    base_models: Mapping[str, str]
    precision: Mapping[str, str]
    parity: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    trained_from: Mapping[str, Any] = field(default_factory=dict)
    shared_reading: Mapping[str, bool] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    mailroom: str = __version__
    files: Mapping[str, FileEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version whose manifest was checked; its encoders are checked as they are loaded."""

    directory: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Name of the version; sorts by time of publication."""
        return self.directory.name

    @property
    def has_cross_encoder(self) -> bool:
        """Whether candidates can be reranked."""
        return f"{CROSS_ENCODER}/{CONFIG_NAME}" in self.manifest.files

    @property
    def cross_encoder_kind(self) -> str | None:
        """`pairwise`, `one-pass` or `late-interaction`; None where the version decides by retrieval alone."""
        if not self.has_cross_encoder:
            return None
        return str(read_config_fields(self.directory / CROSS_ENCODER).get("kind"))

    def load_bi_encoder(self, precision: Precision | None = None, intra_op_threads: int = 1) -> BiEncoder:
        """The bi-encoder, in the precision that the manifest chose unless one is given."""
        chosen = self._checked(BI_ENCODER, precision)
        return BiEncoder.load(self.directory / BI_ENCODER, chosen, intra_op_threads)

    def load_cross_encoder(
        self, precision: Precision | None = None, intra_op_threads: int = 1
    ) -> CrossEncoder | None:
        """The cross-encoder, or None where the version decides by retrieval alone."""
        if not self.has_cross_encoder:
            return None
        chosen = self._checked(CROSS_ENCODER, precision)
        return load_cross_encoder(self.directory / CROSS_ENCODER, chosen, intra_op_threads)

    def load_prototypes(self) -> Prototypes | None:
        """What labels learned from examples, or None where this version has seen none."""
        if PROTOTYPES_NAME not in self.manifest.files:
            return None
        _check_file(self.directory, PROTOTYPES_NAME, self.manifest.files)
        return load_prototypes(self.directory / PROTOTYPES_NAME)

    def load_lexical(self) -> Lexical | None:
        """What words say for each label, or None where this version ranks by the cosine alone."""
        if self.lexical_path is None:
            return None
        _check_file(self.directory, LEXICAL_NAME, self.manifest.files)
        return load_lexical(self.lexical_path)

    @property
    def lexical_path(self) -> Path | None:
        """The file of what words say for each label, or None where this version ranks by the cosine alone."""
        return self.directory / LEXICAL_NAME if LEXICAL_NAME in self.manifest.files else None

    @property
    def prototypes_path(self) -> Path | None:
        """The file of what labels learned from examples, or None where this version has seen none."""
        return self.directory / PROTOTYPES_NAME if PROTOTYPES_NAME in self.manifest.files else None

    @property
    def temperature_factor(self) -> float:
        """What the temperature of the deciding stage is multiplied by; 1 before any calibration."""
        return float(self.manifest.calibration.get("temperature_factor", 1.0))

    @property
    def review_below_probability(self) -> float | None:
        """The probability below which this version's answers are marked for review; None before any fit."""
        return self.manifest.calibration.get("review_below_probability")

    @property
    def outside_above(self) -> float | None:
        """The foreignness above which its answers are marked `out_of_taxonomy`; None before any fit."""
        return self.manifest.calibration.get("outside_above")

    @property
    def encoder_start(self) -> str | None:
        """The version with whose encoder training began; None where no cycle trained this one's since."""
        found = self.manifest.trained_from.get(ENCODER_START)
        return None if found is None else str(found)

    @property
    def refused(self) -> tuple[str, ...]:
        """Why the gate refused this version; () where it did not."""
        return tuple(self.manifest.trained_from.get("refused", ()))

    def precision_of(self, encoder: str) -> Precision:
        """The precision that the manifest chose for an encoder folder."""
        return "int8" if self.manifest.precision.get(encoder) == "int8" else "fp32"

    def shares_reading(self, bi_encoder: Precision, cross_encoder: Precision | None) -> bool:
        """Whether the cross-encoder's reading of an email may stand for the bi-encoder's, so opened."""
        return bi_encoder == cross_encoder and self.manifest.shared_reading.get(bi_encoder, False)

    def _checked(self, encoder: str, precision: Precision | None) -> Precision:
        """Hash only what serving reads; the weights for training may be ten times as large."""
        chosen = precision or self.precision_of(encoder)
        for name in (CONFIG_NAME, TOKENIZER_NAME, GRAPH_NAMES[chosen]):
            _check_file(self.directory, f"{encoder}/{name}", self.manifest.files)
        return chosen


@contextmanager
def draft_version(models: Path) -> Iterator[Path]:
    """A new folder beside the versions in which one is built; gone afterwards unless it was published."""
    try:
        models.mkdir(parents=True, exist_ok=True)
        _remove_old_drafts(models)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX, dir=models))
    except OSError as exc:
        raise ModelError(f"{models}: a model version cannot be made here: {exc.strerror}") from exc
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish_version(draft: Path, manifest: Manifest) -> ModelVersion:
    """Seal a draft: hash its files, write its manifest, and give it its name in one step.

    A process that is killed before this leaves no version. `manifest.files` is filled in here.
    """
    try:
        return _publish(draft, manifest)
    except OSError as exc:
        raise ModelError(f"{draft.parent}: the model version cannot be written: {exc.strerror}") from exc


def make_manifest(
    base_models: Mapping[str, str], precision: Mapping[str, str], parent: str | None = None, **facts: Any
) -> Manifest:
    """A manifest of now; `facts` are `parity`, `metrics`, `trained_from` and `shared_reading`."""
    created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Manifest(created_at, parent, base_models, precision, **facts)


def write_manifest(directory: Path, manifest: Manifest) -> str:
    """Write manifest.json and return the first 8 hex digits of its digest."""
    content = {"format": MANIFEST_FORMAT, **dataclasses.asdict(manifest)}
    data = (json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
    path = directory / MANIFEST_NAME
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()[:8]


def load_version(directory: Path, verify: bool = False) -> ModelVersion:
    """Open a version and check its manifest; `verify` hashes every file instead of what is loaded alone.

    Raises ModelError that names the file which is missing, changed, or of a newer format.
    """
    manifest = _read_manifest(directory / MANIFEST_NAME, version_digest(directory.name))
    for name, entry in manifest.files.items():
        _check_size(directory / name, entry)
        if verify:
            _check_file(directory, name, manifest.files)
    return ModelVersion(directory, manifest)


def version_digest(name: str) -> str:
    """The 8 hex digits in a version's name, those of its manifest; ModelError for another name."""
    match = _VERSION_NAME.fullmatch(name)
    if match is None:
        raise ModelError(f"{name}: expected a name like v0001-1a2b3c4d, which a version has")
    return match[2]


def list_versions(models: Path) -> list[str]:
    """Names of the published versions in `models`, oldest first."""
    if not models.is_dir():
        return []
    found = [(int(match[1]), path.name) for path in models.iterdir() if (match := _match(path))]
    return [name for _, name in sorted(found)]


def _publish(draft: Path, manifest: Manifest) -> ModelVersion:
    models = draft.parent
    files = {
        path.relative_to(draft).as_posix(): FileEntry(sha256_of(path), path.stat().st_size)
        for path in sorted(draft.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }
    (draft / LABEL_VECTORS).mkdir(exist_ok=True)
    sealed = dataclasses.replace(manifest, files=files)
    digest = write_manifest(draft, sealed)
    # mkdtemp lets only its owner in; a version is read by whoever may read the workspace.
    draft.chmod(0o777 & ~_umask())
    number = max((int(name[1:].partition("-")[0]) for name in list_versions(models)), default=0) + 1
    target = models / f"v{number:04d}-{digest}"
    draft.rename(target)
    return ModelVersion(target, sealed)


def manifest_from_bytes(data: bytes, place: str, digest: str) -> Manifest:
    """The manifest that `data` holds; ModelError, led by `place`, unless it is whole and has the digest."""
    try:
        content = json.loads(data)
    except ValueError as exc:
        raise ModelError(f"{place}: expected JSON, got: {exc}; restore the version from a copy") from exc
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != MANIFEST_FORMAT:
        newer = isinstance(found, int) and found > MANIFEST_FORMAT
        raise ModelError(
            f"{place}: expected format {MANIFEST_FORMAT}, got {found!r}; "
            + ("a newer mailroom wrote it: upgrade" if newer else "restore the version from a copy")
        )
    if hashlib.sha256(data).hexdigest()[:8] != digest:
        raise ModelError(f"{place}: was changed after the version was made; restore the version from a copy")
    try:
        files = {name: FileEntry(**entry) for name, entry in content.pop("files").items()}
        return Manifest(**content, files=files)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ModelError(f"{place}: expected the fields of a manifest, got: {exc}") from exc


def _read_manifest(path: Path, digest: str) -> Manifest:
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: expected the manifest of a model version, found no file") from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    return manifest_from_bytes(data, str(path), digest)


def _check_size(path: Path, entry: FileEntry) -> None:
    try:
        size = path.stat().st_size
    except OSError as exc:
        raise ModelError(
            f"{path}: expected a file of {entry.bytes} bytes, found none; restore the version from a copy"
        ) from exc
    if size != entry.bytes:
        raise ModelError(
            f"{path}: expected {entry.bytes} bytes, got {size}; the file was changed: restore it from a copy"
        )


def _check_file(directory: Path, name: str, files: Mapping[str, FileEntry]) -> None:
    path = directory / name
    entry = files.get(name)
    if entry is None:
        raise ModelError(f"{path}: expected in the manifest of this version, found no entry")
    _check_size(path, entry)
    try:
        found = sha256_of(path)
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    if found != entry.sha256:
        raise ModelError(
            f"{path}: expected sha256 {entry.sha256}, got {found}; "
            "the file was changed: restore it from a copy, or make a new version"
        )


def _match(path: Path) -> re.Match[str] | None:
    return _VERSION_NAME.fullmatch(path.name) if path.is_dir() else None


def _remove_old_drafts(models: Path) -> None:
    """Clear what killed processes left; a younger draft may belong to a running one."""
    for draft in models.glob(f"{DRAFT_PREFIX}*"):
        if draft.stat().st_mtime < time.time() - _DRAFT_LIFETIME_S:
            shutil.rmtree(draft, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
