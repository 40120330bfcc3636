import pytest

from mailroom.errors import DataError
from mailroom.evaluate.metrics import (
    Confusion,
    Judged,
    ReviewFigures,
    expected_calibration_error,
    latency_percentiles,
    macro_f1,
    recall_at,
    review_figures,
    sibling_confusion_rate,
    worst_confusions,
)
from mailroom.evaluate.report import evaluate

PARENT = {"a1": "a", "a2": "a", "b1": "b"}


def are_siblings(one: str, other: str) -> bool:
    return one != other and PARENT[one] == PARENT[other]


def test_recall_counts_the_true_label_among_the_first_k() -> None:
    rankings = [["a", "b", "c", "d"], ["b", "c", "d", "a"], ["b", "c", "d", "e"]]
    recall = recall_at(rankings, ["a", "a", "a"])
    assert recall["recall_at_1"] == pytest.approx(1 / 3)
    assert recall["recall_at_3"] == pytest.approx(1 / 3)
    assert recall["recall_at_5"] == pytest.approx(2 / 3)
    assert recall["recall_at_20"] == pytest.approx(2 / 3)


def test_macro_f1_agrees_with_a_hand_computation() -> None:
    # a: precision 1/2, recall 1/1 → 2/3; b: precision 1/1, recall 1/2 → 2/3; c: never right → 0
    assert macro_f1(["a", "a", "b", "b"], ["a", "b", "b", "c"]) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_macro_f1_counts_a_label_that_was_only_predicted() -> None:
    assert macro_f1(["a", "z"], ["a", "a"]) == pytest.approx((2 / 3 + 0) / 2)


def test_sibling_confusion_is_a_share_of_all_emails() -> None:
    assert sibling_confusion_rate(["a2", "a1", "b1", "a1"], ["a1", "a1", "a1", "b1"], are_siblings) == 0.25


def test_calibration_error_is_zero_where_the_stated_share_is_right() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0)


def test_calibration_error_is_the_gap_where_it_is_not() -> None:
    assert expected_calibration_error([0.9, 0.9, 0.1], [False, False, True]) == pytest.approx(0.9)


def test_a_probability_of_one_falls_into_the_last_bin() -> None:
    assert expected_calibration_error([1.0, 0.99], [True, False]) == pytest.approx((1.99 - 1) / 2)


def test_review_figures_say_what_the_mark_takes_and_catches() -> None:
    marked, correct = [True, True, False, False, False], [False, True, False, True, True]
    assert review_figures(marked, correct) == ReviewFigures(0.4, 0.5, 2 / 3)


def test_review_figures_without_mistakes_or_unmarked_emails() -> None:
    assert review_figures([True], [True]) == ReviewFigures(1.0, None, None)


def test_latency_percentiles_are_given_by_step() -> None:
    figures = latency_percentiles([{"encode": float(n), "total": 2.0 * n} for n in range(101)])
    assert figures == {
        "encode": {"p50": 50.0, "p95": 95.0, "p99": 99.0},
        "total": {"p50": 100.0, "p95": 190.0, "p99": 198.0},
    }


def test_worst_confusions_come_most_frequent_first() -> None:
    found = worst_confusions(["a2", "a2", "b1", "a1"], ["a1", "a1", "a1", "a1"], are_siblings, most=2)
    assert found == [Confusion("a1", "a2", 2, True), Confusion("a1", "b1", 1, False)]


def test_the_json_form_has_the_documented_fields() -> None:
    judged = [Judged("a1", ("a1", "a2"), ("a2", "a1"), 0.8, False, {"total": 1.0})]
    record = evaluate(judged, 0.5, are_siblings).to_dict()
    assert record["recall_at_1"] == 1.0
    assert record["retrieval"]["recall_at_1"] == 0.0
    assert record["emails_per_second"] == 2.0
    assert record["coverage"] == {"wanted": 0.95, "threshold": 0.8, "coverage": 1.0, "precision": 1.0}
    assert record["latency_ms"] == {"total": {"p50": 1.0, "p95": 1.0, "p99": 1.0}}
    assert record.keys() >= {
        *(f"recall_at_{k}" for k in (1, 3, 5, 10, 20)),
        *("macro_f1", "sibling_confusion_rate", "expected_calibration_error", "worst_confusions"),
    }


def test_nothing_judged_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one"):
        evaluate([], 1.0, are_siblings)
