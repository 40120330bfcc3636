"""The open workspace: settings, taxonomy, log and model version, wired into a classifier.

Everything is opened when it is first needed, so that a command pays for what it uses alone.
"""

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mailroom.classify.label_vectors import text_vectors
from mailroom.classify.wordings import competitor_text
from mailroom.config import CONFIG_NAME, Settings, load_settings
from mailroom.errors import ConfigError, ModelError
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER, ModelVersion, load_version
from mailroom.models.runtime import Precision
from mailroom.store.database import Database, open_database, url_in_folder
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.promotions import PromotionLog
from mailroom.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mailroom.classify.classifier import Classifier, QueryEncoder
    from mailroom.classify.marks import ReviewRules
    from mailroom.models.bi_encoder import BiEncoder
    from mailroom.workspace.classification import ClassificationRun
    from mailroom.workspace.evaluation import GoldRun

MODELS = "models"
CYCLES = "cycles"


class Workspace:
    """One workspace folder; use it as a context manager so that its log is closed."""

    def __init__(self, root: Path, settings: Settings, read_only: bool = False) -> None:
        self.root = root
        self.settings = settings
        self._read_only = read_only
        self._database: Database | None = None

    @classmethod
    def open(cls, root: Path, read_only: bool = False) -> "Workspace":
        """Read the settings of a workspace folder; ConfigError where it is none.

        `read_only` leaves the database as it is, and works where nothing can be written.
        """
        return cls(root, load_settings(root / CONFIG_NAME), read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.close()

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The label tree as it stands in the file now."""
        return load_taxonomy(self.root / self.settings.taxonomy)

    @cached_property
    def database(self) -> Database:
        """The workspace's database, made or brought up to date when it is opened to be written."""
        url = url_in_folder(self.settings.store.url, self.root)
        self._database = open_database(url, read_only=self._read_only)
        return self._database

    @cached_property
    def log(self) -> PredictionLog:
        """Every prediction that was made."""
        return PredictionLog(self.database, self.settings.store)

    @cached_property
    def feedback(self) -> FeedbackLog:
        """Every word that people said."""
        return FeedbackLog(self.database, self.settings.store)

    @cached_property
    def promotions(self) -> PromotionLog:
        """Which version answers, and who made it so."""
        return PromotionLog(self.database)

    @cached_property
    def version(self) -> ModelVersion:
        """The model version that answers; which one that is stands in the store."""
        current = self.promotions.current()
        if current is None:
            raise ModelError(
                f"{self.root}: expected a current model version, found none in the store; make a new "
                "workspace with `mailroom init`"
            )
        return load_version(self.root / MODELS / current)

    def precision(self, encoder: str = BI_ENCODER) -> Precision:
        """`int8` or `fp32`: what the settings demand, else what the parity gate allowed."""
        wanted = self.settings.models.precision
        if wanted == "int8":
            return "int8"
        if wanted == "fp32":
            return "fp32"
        if wanted != "auto":
            path = self.root / CONFIG_NAME
            raise ConfigError(f"{path}: models.precision: expected auto, int8 or fp32, got {wanted!r}")
        return self.version.precision_of(encoder)

    @property
    def threads(self) -> int:
        """Emails side by side: the setting, else one a core that this process may use."""
        return self.settings.classify.threads or _usable_cores()

    def notices(self) -> list[str]:
        """What a user should know before trusting the answers."""
        # A learning cycle measured what decides best; only what `init` made has nobody judged yet.
        if self.version.has_cross_encoder or "cycle" in self.version.manifest.trained_from:
            return []
        return [
            "no cross-encoder: decided by retrieval alone "
            "(`mailroom init --cross-encoder NAME` configures one)"
        ]

    def slower_encoders(self) -> list[str]:
        """The encoders whose int8 graph differs too much from fp32, which is then used and slower."""
        parity = self.version.manifest.parity
        return [encoder.replace("_", "-") for encoder, verdict in parity.items() if not verdict["passed"]]

    def classifier(self, remembering: "Callable[[BiEncoder], QueryEncoder] | None" = None) -> "Classifier":
        """The classifier of this workspace, its models loaded and checked.

        `remembering` makes of the bi-encoder what reads emails, such as one that knows some of them already.
        """
        from mailroom.classify.classifier import Classifier, LabelEntry, Provenance
        from mailroom.models.shared_reading import email_reader

        encoder = self.version.load_bi_encoder(self.precision())
        reranker = self.version.load_cross_encoder(self._cross_precision())
        shared = self.version.shares_reading(self.precision(), self._cross_precision())
        taxonomy = self.taxonomy
        labels = [
            LabelEntry(label.id, label.path, competitor_text(label, taxonomy))
            for label in taxonomy.assignable
        ]
        provenance = Provenance(self.version.id, taxonomy.revision)
        vectors = self.label_vectors(encoder)
        words = self.version.load_lexical()
        return Classifier(
            encoder if remembering is None else remembering(encoder),
            vectors,
            labels,
            self.settings.classify,
            provenance,
            reranker,
            email_reader(reranker) if shared else None,
            temperature_factor=self.version.temperature_factor,
            rules=self.review_rules(),
            words=None if words is None else words.for_labels([label.id for label in labels]),
        )

    def review_rules(self) -> "ReviewRules":
        """When an answer is marked for review: the settings, and what the version's cycle found."""
        from mailroom.classify.marks import ReviewRules

        version = self.version
        return ReviewRules.of(self.settings.classify, version.review_below_probability, version.outside_above)

    def label_vectors(self, encoder: "BiEncoder") -> "NDArray[np.float32]":
        """Vectors (assignable labels, d) to retrieve by: the labels' texts, and what they learned.

        The texts' vectors are computed once a model version × wording of the labels.
        """
        vectors = text_vectors(self.version, encoder, self.taxonomy, self.precision())
        prototypes = self.version.load_prototypes()
        if prototypes is None:
            return vectors
        return prototypes.label_vectors([label.id for label in self.taxonomy.assignable], vectors)

    def classification_run(self, threads: int | None = None, again: bool = False) -> "ClassificationRun":
        """A run whose predictions go to the log."""
        from mailroom.workspace.classification import ClassificationRun

        self.register_taxonomy()
        return ClassificationRun(self.classifier(), self.log, self.settings, threads or self.threads, again)

    def register_taxonomy(self) -> None:
        """Make the store remember the labels of this revision: later ones may lack some of them."""
        labels = [(label.id, label.path) for label in self.taxonomy.assignable]
        self.log.register_taxonomy(self.taxonomy.revision, labels)

    def gold_run(
        self,
        threads: int | None = None,
        remembering: "Callable[[BiEncoder], QueryEncoder] | None" = None,
    ) -> "GoldRun":
        """A run that judges labelled emails and leaves the log alone; `remembering` as in `classifier`."""
        from mailroom.workspace.evaluation import GoldRun

        return GoldRun(
            self.classifier(remembering), self.taxonomy, self.settings.mail, threads or self.threads
        )

    def _cross_precision(self) -> Precision | None:
        return self.precision(CROSS_ENCODER) if self.version.has_cross_encoder else None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
