"""mailroom.toml and the environment → Settings: the only module that reads either.

Every setting is a field with a default and a help line; `default_toml` writes them out and
`docs/settings.md` is tested against them.
"""

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailroom.errors import ConfigError

CONFIG_NAME = "mailroom.toml"
WORKSPACE_VARIABLE = "MAILROOM_WORKSPACE"
# The name that PostgreSQL's own programs know.
DATABASE_PASSWORD_VARIABLE = "PGPASSWORD"  # noqa: S105 - a name, not a password

MIB = 1024 * 1024


def setting(
    default: Any,
    help_line: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its help line and its bounds, or the words that it may hold."""
    metadata = {"help": help_line, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Limits on what one message may cost; beyond them it is cut and marked, never fatal."""

    max_message_bytes: int = setting(
        25 * MIB, "Bytes of one raw message that are read; the rest is skipped.", 1024
    )
    max_header_bytes: int = setting(256 * 1024, "Bytes of headers that are read.", 1024)
    max_parts: int = setting(200, "MIME parts that are visited in one message.", 1)
    max_depth: int = setting(20, "Levels of MIME nesting that are followed.", 1, 100)
    max_decoded_bytes: int = setting(
        8 * MIB, "Bytes of decoded text that are kept over all parts of one message.", 1024
    )
    max_text_chars: int = setting(20_000, "Characters of cleaned text that the models may be shown.", 100)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which encoders a workspace uses; read at `init`, by `models`, and for late interaction by `learn`."""

    bi_encoder: str = setting("embedded", "Bi-encoder: `embedded`, a directory, or a hub id.")
    cross_encoder: str = setting(
        "auto",
        "Cross-encoder: `auto` (`late-interaction` behind the embedded bi-encoder, `none` behind others), "
        "`none`, `late-interaction`, a directory, or a hub id.",
    )
    precision: str = setting("auto", "`auto` (int8 where it passed the parity gate), `int8`, or `fp32`.")
    keep_versions: int = setting(
        10,
        "Newest model versions that stay on disk; 0 keeps all. Never the current one, its parent, or where "
        "their training began.",
        0,
    )
    keep_refused: int = setting(
        1, "Newest versions that the gate refused which stay on disk, to look into; 0 keeps none.", 0
    )


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """How an email is decided."""

    top_k: int = setting(20, "Candidates that retrieval hands to the cross-encoder.", 1, 1000)
    rerank_above_share: float = setting(
        0.0,
        "A candidate that retrieval finds less probable than this share of the first is not reranked; where "
        "the first is left alone, retrieval decides. 0 reranks all.",
        0.0,
        1.0,
    )
    threads: int = setting(0, "Emails that are classified side by side; 0 means one a core.", 0, 1024)
    review_below_probability: float = setting(
        0.5, "A prediction less probable than this is marked `needs_review`.", 0.0, 1.0
    )
    review_below_margin: float = setting(
        0.1, "A prediction whose margin is smaller than this is marked `needs_review`.", 0.0, 1.0
    )
    review_by_version: bool = setting(
        True,
        "Let the version that answers mark more: below the probability, and above the foreignness, that its "
        "learning cycle found.",
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where predictions are kept."""

    url: str = setting("sqlite:///mailroom.db", "Database URL; a relative SQLite path is in the workspace.")
    commit_every_predictions: int = setting(64, "Predictions that share one commit at most.", 1, 100_000)
    commit_every_ms: int = setting(500, "Longest wait of a prediction for its commit, in milliseconds.", 0)
    keep_text: bool = setting(True, "Keep the text that the models read, which learning needs.")
    max_text_chars: int = setting(4000, "Characters of an email's text that the log keeps.", 0)
    max_aside_chars: int = setting(
        1000,
        "Characters that the log keeps of quoted replies, signatures and the like, to show them dimmed.",
        0,
    )


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """What the learning loop may use, and how sure it has to be."""

    evaluation_share: float = setting(
        0.2,
        "Share of people's labels that judges models and is never trained on; falls once these are 500.",
        0.0,
        0.5,
    )
    validation_share: float = setting(
        0.1,
        "Share of the remaining labels that stops and calibrates training; falls with the other.",
        0.0,
        0.5,
    )
    silver_target_precision: float = setting(
        0.95, "Precision that audits must show before the model's own answers are trained on.", 0.5, 0.999
    )
    silver_error_rate: float = setting(
        0.05, "Chance that the precision of such answers is below the target all the same.", 0.001, 0.5
    )
    silver_max_per_label: int = setting(200, "The model's own answers of one label that are used at most.", 0)
    silver_unproven_share: float = setting(
        0.1,
        "Share of the mail, the surest, that is used before there are audits enough; 0 for none.",
        0.0,
        1.0,
    )
    silver_pool_emails: int = setting(50_000, "Newest unlabelled emails that are looked through.", 0)
    hard_negatives: int = setting(8, "Wrong labels that an example is contrasted with at most.", 0, 100)
    min_new_gold: int = setting(
        20, "Newly labelled emails without which `learn` leaves things as they are.", 1
    )
    unmarked_precision: float = setting(
        0.95,
        "Share of right answers that mail which is not marked for review should keep: a cycle fits the new "
        "version's mark to it; 0 fits none.",
        0.0,
        0.999,
    )
    outside_false_alarms: float = setting(
        0.05,
        "Share of mail with a label that may be marked `out_of_taxonomy`: a cycle fits the new version's "
        "threshold to it; 0 fits none.",
        0.0,
        0.5,
    )
    budget_minutes: int = setting(60, "Minutes that one cycle may work, unless `--budget` says.", 1)
    train_from_gold: int = setting(
        50,
        "Gold to train on from which encoders are fine-tuned; with less, label vectors learn alone.",
        1,
    )
    encoder_runs: int = setting(
        3,
        "Trainings of the encoder at most, whose weights are averaged: another one as long as the budget has "
        "time for it.",
        1,
        10,
    )
    train_cross_encoder: str = setting(
        "auto",
        "Train a cross-encoder and let it teach the encoder: `auto` (goes on with the one that answers, "
        "where there is something to win), `always` or `never`.",
        choices=("auto", "always", "never"),
    )


@dataclass(frozen=True, slots=True)
class GateSettings:
    """When a challenger may take the champion's place."""

    tolerance: float = setting(
        0.005,
        "Loss of top-1, of Recall@5 or to siblings, as a share of emails, that is always let pass.",
        0,
        1,
    )
    confidence: float = setting(
        0.9, "How sure the gate must be that a loss beyond the tolerance is no chance.", 0.5, 0.999
    )
    min_emails: int = setting(30, "Gold emails to judge by without which nothing is promoted.", 1)


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """What `mailroom drift` holds to what."""

    window_days: int = setting(7, "Days of the window that is looked at.", 1, 3650)
    reference_days: int = setting(28, "Days before the window that it is held to.", 1, 3650)
    min_emails: int = setting(100, "Emails of a window without which nothing is judged.", 1)
    max_emails: int = setting(20_000, "Emails of a window that are read at most, evenly spaced.", 100)
    embedded_emails: int = setting(
        300, "Emails of a window whose kept text is embedded to measure its shift; 0 for none.", 0
    )


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """Which emails are put before people."""

    audit_share: float = setting(
        0.1, "Share of reviewed emails that is drawn at random, which alone estimates precision.", 0.0, 1.0
    )
    batch: int = setting(20, "Emails that a reviewer takes in hand at a time.", 1, 1000)
    lease_minutes: int = setting(
        30, "Minutes after which emails in a reviewer's hands go to others.", 1, 10_000
    )


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How `mailroom serve` takes requests."""

    host: str = setting("127.0.0.1", "Address to listen on; another than loopback needs an API key first.")
    port: int = setting(8025, "Port to listen on; 0 takes a free one.", 0, 65_535)
    workers: int = setting(
        1, "Processes that answer on one socket; the threads of `classify.threads` = 0 are shared out.", 1, 64
    )
    max_waiting_emails: int = setting(
        256, "Emails taken and not yet answered; beyond them a request gets 429 and is to come again.", 1
    )
    deadline_ms: int = setting(10_000, "Longest wait for one email's answer, in milliseconds.", 1)
    max_body_bytes: int = setting(25 * MIB, "Bytes of one request, or of one line of a batch.", 1024)
    max_batch_bytes: int = setting(1024 * MIB, "Bytes of one batch.", 1024)
    max_batches: int = setting(4, "Batches that are answered at once.", 1)
    follow_every_ms: int = setting(
        1000, "How often the service looks for a promotion or a changed taxonomy, in milliseconds.", 10
    )
    latency_target_ms: int = setting(500, "What the 99th percentile of an answer should stay below.", 1)
    session_hours: int = setting(12, "How long a browser stays logged in.", 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything in mailroom.toml."""

    taxonomy: str = setting("taxonomy.yaml", "The label tree, relative to the workspace.")
    mail: MailSettings = field(default_factory=MailSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    classify: ClassifySettings = field(default_factory=ClassifySettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    review: ReviewSettings = field(default_factory=ReviewSettings)


def load_settings(path: Path) -> Settings:
    """Read one mailroom.toml; ConfigError names the file and the setting that is wrong."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file; `mailroom init` makes a workspace") from exc
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path}: expected TOML, got: {exc}") from exc
    settings: Settings = _build(Settings, table, path, "")
    return settings


def iter_settings(cls: Any = Settings, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Every setting as (dotted name, default, help line), in file order."""
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(item.type):
            yield from iter_settings(item.type, f"{item.name}.")
        else:
            yield f"{prefix}{item.name}", item.default, item.metadata["help"]


def setting_values(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting's value by its dotted name, as `render_toml` takes them."""
    values: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if dataclasses.is_dataclass(value):
            values |= setting_values(value, f"{item.name}.")
        else:
            values[f"{prefix}{item.name}"] = value
    return values


def render_toml(values: Mapping[str, Any]) -> str:
    """A complete mailroom.toml with its help lines; `values` (dotted names) replace defaults."""
    lines = ["# The settings of this workspace; see docs/settings.md."]
    section = ""
    for name, default, help_line in iter_settings():
        head, _, key = name.rpartition(".")
        if head != section:
            section = head
            lines.append(f"\n[{section}]")
        lines += [f"# {help_line}", f"{key} = {_toml_value(values.get(name, default))}"]
    return "\n".join(lines) + "\n"


def workspace_of_environment() -> Path | None:
    """The folder that $MAILROOM_WORKSPACE names; None where it is unset or empty."""
    value = os.environ.get(WORKSPACE_VARIABLE)
    return Path(value) if value else None


def find_workspace(explicit: Path | None, start: Path | None = None) -> Path:
    """The workspace folder: `explicit`, else $MAILROOM_WORKSPACE, else the nearest one upward of `start`."""
    chosen = explicit or workspace_of_environment()
    if chosen is not None:
        if not (chosen / CONFIG_NAME).is_file():
            raise ConfigError(
                f"{chosen}: expected a workspace (a folder with {CONFIG_NAME}), found none; make one with "
                "`mailroom init DIR --taxonomy FILE`"
            )
        return chosen.resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise ConfigError(
        f"no {CONFIG_NAME} in {here} or above; make a workspace with `mailroom init DIR --taxonomy FILE`, "
        f"or name one with --workspace or ${WORKSPACE_VARIABLE}"
    )


def database_password() -> str | None:
    """The password for a database URL that has none: a file that many may read is no place for one."""
    return os.environ.get(DATABASE_PASSWORD_VARIABLE)


def settings_or_defaults(explicit: Path | None) -> Settings:
    """The workspace's settings; the defaults where no workspace was named and none is near."""
    named = explicit is not None or workspace_of_environment() is not None
    try:
        root = find_workspace(explicit)
    except ConfigError:
        if named:
            raise
        return Settings()
    return load_settings(root / CONFIG_NAME)


def _build(cls: Any, table: Mapping[str, Any], path: Path, prefix: str) -> Any:
    known = {item.name: item for item in dataclasses.fields(cls)}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else f"; known: {', '.join(known)}"
            raise ConfigError(f"{path}: unknown setting {prefix}{key}{hint}")
    return cls(**{key: _value(known[key], value, path, prefix) for key, value in table.items()})


def _value(item: Any, value: Any, path: Path, prefix: str) -> Any:
    name = f"{prefix}{item.name}"
    if dataclasses.is_dataclass(item.type):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: expected a section [{name}], got {value!r}")
        return _build(item.type, value, path, f"{name}.")
    expected = type(item.default)
    # TOML writes 1 where a person means 1.0; a bool is an int to Python, but not to people.
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise ConfigError(f"{path}: {name}: expected {expected.__name__}, got {value!r}")
    choices = item.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"{path}: {name}: expected one of {', '.join(choices)}, got {value!r}")
    low, high = item.metadata["minimum"], item.metadata["maximum"]
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(f"{path}: {name}: expected {bounds}, got {value!r}")
    return value


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
