"""Drift between two windows: what moved is found, what did not is not, and too little mail is said."""

from dataclasses import replace

import numpy as np
import pytest

from mailroom.errors import DataError
from mailroom.evaluate.drift import LEVELS, Drift, Level, Window, level_of, measure_drift
from mailroom.evaluate.effects import Effect

LABELS = [f"label{n:02}" for n in range(30)]


def window(emails: int, seed: int, first_label: float = 1 / 30, audited: tuple[int, int] = (0, 0)) -> Window:
    """Mail whose first label has the share `first_label`, the others sharing what is left."""
    random = np.random.default_rng(seed)
    shares = np.full(30, (1 - first_label) / 29)
    shares[0] = first_label
    return Window(
        [LABELS[place] for place in random.choice(30, emails, p=shares)],
        random.beta(5, 2, emails),
        random.beta(3, 2, emails),
        random.normal(-0.5, 0.1, emails),
        random.normal(0, 1, (min(emails, 400), 32)).astype(np.float32),
        audited,
    )


def levels(drift: Drift) -> dict[str, Level]:
    return {finding.name: finding.level for finding in drift.findings}


def share_of_levels(emails: int, first_label: float, name: str, level: Level) -> float:
    found = [
        levels(measure_drift(window(4 * emails, 2 * seed), window(emails, 2 * seed + 1, first_label)))[name]
        for seed in range(15)
    ]
    return found.count(level) / len(found)


@pytest.mark.parametrize("emails", [100, 1000, 10_000])
def test_steady_mail_is_no_alarm_in_little_or_much_of_it(emails: int) -> None:
    reference = window(4 * emails, 0, audited=(95, 100))
    found = [
        levels(measure_drift(reference, window(emails, seed, audited=(94, 100)))) for seed in range(1, 16)
    ]
    assert all(set(levels) == LEVELS.keys() for levels in found)
    raised = [level in ("watch", "alarm") for levels in found for level in levels.values()]
    # Seven measures of fifteen windows; each may be wrong once in a hundred.
    assert sum(raised) <= 4


@pytest.mark.parametrize("emails", [300, 3000, 30_000])
def test_the_level_of_a_change_does_not_move_with_the_amount_of_mail(emails: int) -> None:
    # One label grows from 3 % to 25 %: an index of 0.5, twice the alarm level.
    assert share_of_levels(emails, 0.25, "label_mix_psi", "alarm") >= 0.9


def test_a_given_threshold_says_what_is_outside() -> None:
    reference, current = window(1000, 0), window(1000, 1)
    drift = measure_drift(reference, current, outside_above=-0.5)
    found = next(finding for finding in drift.findings if finding.name == "outside_share")
    assert found.before == pytest.approx(np.mean(reference.foreignness > -0.5))
    assert found.now == pytest.approx(np.mean(current.foreignness > -0.5))


def test_a_change_that_is_certain_but_small_is_steady() -> None:
    # From 3.3 to 4.3 % in 200,000 emails: any test of significance would shout.
    found = measure_drift(window(200_000, 0), window(200_000, 1, first_label=0.043))
    mix = found.findings[0]
    assert mix.size is not None
    assert mix.chance is not None
    assert mix.size > 5 * mix.chance
    assert mix.level == "steady"


def test_each_measure_finds_its_own_change() -> None:
    reference = window(2000, 0, audited=(95, 100))
    current = window(1000, 1, audited=(94, 100))
    vectors = current.vectors
    assert vectors is not None
    changed = {
        "probability_psi": replace(current, probabilities=current.probabilities * 0.8),
        "margin_psi": replace(current, margins=current.margins**2),
        "outside_share": replace(current, foreignness=current.foreignness + 0.15),
        "embedding_shift": replace(current, vectors=vectors + np.float32(0.6)),
        "audited_accuracy_loss": replace(current, audited=(75, 100)),
    }
    for name, moved in changed.items():
        found = measure_drift(reference, moved)
        assert [n for n, level in levels(found).items() if level == "alarm"] == [name]
        assert found.level == "alarm"


def test_less_foreign_mail_and_better_answers_are_no_alarm() -> None:
    reference = window(2000, 0, audited=(80, 100))
    better = replace(window(1000, 1, audited=(99, 100)), foreignness=np.full(1000, -0.9))
    found = levels(measure_drift(reference, better))
    assert (found["outside_share"], found["audited_accuracy_loss"]) == ("steady", "steady")


def test_too_little_to_tell_is_said_and_is_no_alarm() -> None:
    found = measure_drift(window(100, 0, audited=(9, 10)), window(100, 1, audited=(8, 10)))
    assert levels(found)["label_mix_js_bits"] == "unknown"
    assert levels(found)["audited_accuracy_loss"] == "unknown"
    assert found.level == "steady"


def test_a_handful_of_emails_gets_sizes_and_no_level() -> None:
    found = measure_drift(window(2000, 0), window(8, 1, first_label=0.9))
    assert set(levels(found).values()) == {"unknown"}
    assert found.findings[0].size is not None


def test_without_audits_or_vectors_those_measures_are_unknown() -> None:
    reference, current = (replace(window(500, seed), vectors=None) for seed in (0, 1))
    found = measure_drift(reference, current)
    assert levels(found)["embedding_shift"] == levels(found)["audited_accuracy_loss"] == "unknown"
    assert (found.accuracy, found.reference_accuracy) == (None, None)


def test_audited_accuracy_has_its_interval() -> None:
    found = measure_drift(window(500, 0, audited=(45, 50)), window(500, 1, audited=(40, 50)))
    assert found.accuracy is not None
    assert found.accuracy.low < found.accuracy.value == 0.8 < found.accuracy.high


def test_the_labels_that_moved_most_come_first() -> None:
    found = measure_drift(window(3000, 0), window(3000, 1, first_label=0.3))
    first = found.moved_labels[0]
    assert first.label == "label00"
    assert first.before == pytest.approx(1 / 30, abs=0.01)
    assert first.now == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("size", "chance", "level"),
    [
        (0.05, 0.01, "steady"),
        (0.12, 0.01, "watch"),
        (0.30, 0.01, "alarm"),
        (0.02, 0.20, "steady"),
        (0.12, 0.20, "unknown"),
        (0.12, 0.40, "unknown"),
        (0.60, 0.40, "alarm"),
        (-0.5, 0.01, "steady"),
    ],
)
def test_a_level_needs_its_size_and_more_than_chance(size: float, chance: float, level: Level) -> None:
    assert level_of("label_mix_psi", Effect(size, chance)) == level


def test_the_same_windows_give_the_same_findings() -> None:
    assert measure_drift(window(200, 0), window(100, 1)) == measure_drift(window(200, 0), window(100, 1))


def test_an_empty_window_is_refused() -> None:
    empty = Window([], np.array([]), np.array([]), np.array([]))
    with pytest.raises(DataError, match="0 in the window"):
        measure_drift(window(10, 0), empty)
