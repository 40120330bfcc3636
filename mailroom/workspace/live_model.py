"""The model that answers now: loaded aside, swapped in at once, followed wherever it was promoted.

A caller takes `current` once an email: an answer is made by one version throughout, and an email that is
under way during a swap is finished by the version that began it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mailroom.classify.classifier import Classifier
from mailroom.errors import MailroomError, ModelError
from mailroom.models.registry import load_version
from mailroom.taxonomy import Taxonomy
from mailroom.workspace.corrections import Corrections
from mailroom.workspace.workspace import MODELS, Workspace

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Serving:
    """One model version with one revision of the taxonomy; `workspace` sees exactly these two."""

    workspace: Workspace
    version: str
    taxonomy: Taxonomy
    classifier: Classifier
    corrections: Corrections


class LiveModel:
    """What answers in this process; safe to share between threads."""

    def __init__(self, workspace: Workspace) -> None:
        """Load the current version; raises what opening it raises."""
        self._root, self._settings = workspace.root, workspace.settings
        self._base = workspace
        self._swap = threading.Lock()
        self._stamp = _stamp(self._taxonomy_path)
        self._current = self._load(None)
        self.problem: str | None = None
        self.swaps = 0

    @property
    def current(self) -> Serving:
        """What answers; take it once an email."""
        return self._current

    def follow(self) -> bool:
        """Bring in what was promoted, or written to the taxonomy, by whomever; True where something changed.

        What cannot be loaded is left out, `problem` says why, and the model in place goes on answering.
        """
        with self._swap:
            try:
                stamp = _stamp(self._taxonomy_path)
                version = self._base.promotions.current()
                if stamp == self._stamp and version == self._current.version:
                    self.problem = None
                    return False
                self._replace(self._load(version))
                self._stamp = stamp
            except MailroomError as exc:
                self.problem = str(exc)
                return False
            return True

    def change(self, version: str, make_current: Callable[[], Made]) -> Made:
        """Load `version`, have the store name it by `make_current`, then answer with it.

        Nothing changes where the version cannot be loaded, or where `make_current` raises.
        """
        with self._swap:
            stamp = _stamp(self._taxonomy_path)
            loaded = self._load(version)
            made = make_current()
            self._replace(loaded)
            self._stamp = stamp
            return made

    def _replace(self, loaded: Serving) -> None:
        self._current = loaded
        self.problem = None
        self.swaps += 1

    def _load(self, version: str | None) -> Serving:
        fresh = Workspace(self._root, self._settings)
        # One set of connections for the process: a workspace that opened its own would have to close them.
        fresh.database = self._base.database
        if version is not None:
            path = self._root / MODELS / version
            if not path.is_dir():
                raise ModelError(f"expected a model version of this workspace, got {version!r}")
            fresh.version = load_version(path)
        fresh.register_taxonomy()
        classifier = fresh.classifier()
        if version is not None:
            # While the former one answers: no email waits for what a new one has to read first. At the start
            # none answers, and to be ready comes first.
            classifier.warm()
        return Serving(fresh, fresh.version.id, fresh.taxonomy, classifier, Corrections(fresh))

    @property
    def _taxonomy_path(self) -> Path:
        return self._root / self._settings.taxonomy


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
