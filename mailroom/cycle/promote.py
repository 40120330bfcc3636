"""A setup that passed the gate → a published version that answers from now on; pruning of old ones."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailroom.config import ModelSettings
from mailroom.cycle.desk import Desk
from mailroom.cycle.setup import Setup
from mailroom.errors import ModelError
from mailroom.models.encoder_config import read_config_fields
from mailroom.models.lexical import LEXICAL_NAME
from mailroom.models.place import place
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.registry import (
    BI_ENCODER,
    CROSS_ENCODER,
    ModelVersion,
    draft_version,
    list_versions,
    load_version,
    make_manifest,
    publish_version,
)
from mailroom.models.retention import prunable_versions, remove_version
from mailroom.store.promotions import Promotion, PromotionLog, before_current


def publish(
    desk: Desk,
    setup: Setup,
    parity: Mapping[str, Any],
    metrics: Mapping[str, Any],
    trained_from: Mapping[str, Any],
    shared_reading: Mapping[str, bool] | None = None,
) -> ModelVersion:
    """Make a version of the setup, a child of the champion; one that the same cycle made before is taken.

    `trained_from` holds `cycle`; `shared_reading` says by precision whether both stages may share one. Files
    that the champion has as well are linked, not copied.
    """
    made = _made_by(desk.models, trained_from["cycle"])
    if made is not None:
        return made
    champion = desk.champion.manifest
    precision: dict[str, str] = {BI_ENCODER: setup.bi_precision}
    names = {BI_ENCODER: champion.base_models.get(BI_ENCODER, "")}
    with draft_version(desk.models) as draft:
        place(Path(setup.bi_encoder), draft / BI_ENCODER)
        if setup.cross_encoder is not None:
            place(Path(setup.cross_encoder), draft / CROSS_ENCODER)
            precision[CROSS_ENCODER] = setup.cross_precision or "fp32"
            kind = read_config_fields(draft / CROSS_ENCODER).get("kind")
            goes_on = kind == desk.champion.cross_encoder_kind
            before = champion.base_models.get(CROSS_ENCODER) if goes_on else None
            names[CROSS_ENCODER] = before or names[BI_ENCODER]
        if setup.prototypes is not None:
            shutil.copyfile(setup.prototypes, draft / PROTOTYPES_NAME)
        if setup.lexical is not None:
            shutil.copyfile(setup.lexical, draft / LEXICAL_NAME)
        manifest = make_manifest(
            names,
            precision,
            desk.champion.id,
            parity=dict(parity),
            metrics=dict(metrics),
            trained_from=dict(trained_from),
            shared_reading=dict(shared_reading or {}),
        )
        manifest = replace(manifest, calibration=_calibration(setup))
        return publish_version(draft, manifest)


def promote(log: PromotionLog, version: str, champion: str, by: str, reason: str) -> None:
    """Let the version answer in the champion's place; once is enough.

    PromotionRefused where another version has taken that place.
    """
    if log.current() != version:
        log.promote(version, by, reason, instead_of=champion)


def prunable(models: Path, history: Sequence[Promotion], settings: ModelSettings) -> list[str]:
    """Old versions beyond the newest that the settings keep, oldest first; 0 keeps all.

    Never the current one, its parent, or the one that a rollback restores. Refused ones that nobody promoted
    since are counted by themselves.
    """
    in_use = {history[-1].version} if history else set()
    previous = before_current(history)
    promoted = {promotion.version for promotion in history}
    found = prunable_versions(
        models, settings.keep_versions, in_use, lambda version: version in promoted, settings.keep_refused
    )
    return [version for version in found if version != previous]


def prune(models: Path, history: Sequence[Promotion], settings: ModelSettings) -> list[str]:
    """Remove what `prunable` names."""
    removed = prunable(models, history, settings)
    for version in removed:
        remove_version(models, version)
    return removed


def _calibration(setup: Setup) -> dict[str, float]:
    fitted = {
        "temperature_factor": setup.temperature_factor,
        "review_below_probability": setup.review_below,
        "outside_above": setup.outside_above,
    }
    return {name: value for name, value in fitted.items() if value is not None}


def _made_by(models: Path, cycle: str) -> ModelVersion | None:
    for name in reversed(list_versions(models)):
        try:
            version = load_version(models / name)
        except ModelError:
            continue  # somebody else's damaged version is no obstacle
        if version.manifest.trained_from.get("cycle") == cycle:
            return version
    return None
