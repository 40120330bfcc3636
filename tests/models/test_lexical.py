from pathlib import Path

import numpy as np
import pytest

from mailroom.errors import DataError, ModelError
from mailroom.models.lexical import Lexical, load_lexical
from mailroom.models.lexical_fit import Bags, fit_svm, make_lexical
from mailroom.models.lexical_learn import Lessons, cross_fitted_scores, learn_lexical
from mailroom.models.lexical_weight import Choice, Judged, choose_weight, weight_beside
from mailroom.models.prototypes import LabelledVectors
from mailroom.models.text_features import MAX_CHARACTERS, is_piece, text_features

WORDS = {"money": ["refund", "invoice", "charge"], "parcel": ["courier", "delivery", "tracking"]}
LABELS = ["money", "parcel", "other"]


def texts_of(count: int, seed: int = 0) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Emails of the first two labels in turns, one telling word in each among four that tell nothing."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count, dtype=np.intp) % 2
    noise = ["hello", "please", "today", "thanks", "regards", "number"]
    texts = [
        " ".join([*generator.choice(noise, 4), generator.choice(WORDS[LABELS[target]])])
        for target in targets.tolist()
    ]
    return texts, targets


def lessons(count: int, informative: bool, labels: list[str] | None = None) -> Lessons:
    """Vectors that tell nothing; words that do, or texts that are all alike."""
    texts, targets = texts_of(count)
    names = labels or LABELS[:2]
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    emails = LabelledVectors(vectors, targets, np.ones(count, dtype=np.float32))
    said = texts if informative else ["hello there"] * count
    return Lessons(names, np.eye(len(names), 8, dtype=np.float32), emails, said, np.arange(count) // 2 % 3)


def head() -> Lexical:
    texts, targets = texts_of(60)
    bags = Bags.read(texts, 2)
    fitted = fit_svm(bags.matrix, targets, np.ones(60, dtype=np.float32))
    assert fitted is not None
    return make_lexical(LABELS, bags, fitted, -0.5, 0.1)


def test_features_do_not_depend_on_their_place_case_or_punctuation() -> None:
    alone = set(text_features("Refund")[0].tolist())
    within = set(text_features("please, REFUND (now)!")[0].tolist())
    assert alone < within
    # The word, and its pieces of three to five characters with both ends marked.
    assert len(alone) == 1 + 6 + 5 + 4
    assert alone.isdisjoint(text_features("courier")[0].tolist())


def test_a_typing_error_keeps_most_pieces_and_loses_the_word() -> None:
    right, wrong = text_features("cancellation")[0], text_features("cancelation")[0]
    shared = np.intersect1d(right, wrong)
    assert is_piece(shared).all()
    assert len(shared) > len(right) / 2


def test_occurrences_are_counted_and_pairs_have_an_order() -> None:
    features, counts = text_features("card card")
    assert counts[~is_piece(features)].tolist().count(2.0) == 1
    forward = text_features("lost card")[0]
    backward = text_features("card lost")[0]
    assert len(np.setdiff1d(forward, backward)) == 1


@pytest.mark.parametrize("text", ["", " \n", "!?", "\ud800"])
def test_a_text_without_words_has_no_features(text: str) -> None:
    features, counts = text_features(text)
    assert len(features) == len(counts) == 0


@pytest.mark.parametrize("text", ["a", "İ" * (MAX_CHARACTERS + 5), "x " * MAX_CHARACTERS, "日本語の手紙"])
def test_any_text_has_features(text: str) -> None:
    assert len(text_features(text)[0])


def test_a_head_scores_as_the_classifier_that_it_was_made_of() -> None:
    texts, targets = texts_of(60)
    bags = Bags.read(texts, 2)
    fitted = fit_svm(bags.matrix, targets, np.ones(60, dtype=np.float32))
    assert fitted is not None
    served = np.stack([head().raw_scores(text) for text in texts])
    assert np.allclose(served, fitted.scores(bags.matrix, 2), atol=2e-3)
    assert (served.argmax(axis=1) == targets).all()


def test_labels_that_a_head_has_not_learned_get_nothing() -> None:
    made = head()
    scores = made.for_labels(["other", "parcel", "money"]).score("courier")
    raw = made.raw_scores("courier")
    assert scores[0] == 0
    assert scores[1] == pytest.approx(0.1 * (raw[1] + 0.5), abs=1e-6)
    assert scores[2] == pytest.approx(0.1 * (raw[0] + 0.5), abs=1e-6)
    assert scores[1] > 0 > scores[2]
    unweighed = made.for_labels(["other", "money"]).raw_scores(["courier", "hello"])
    assert np.isnan(unweighed[:, 0]).all()
    assert unweighed[0, 1] == raw[0]


def test_unknown_words_leave_the_bias() -> None:
    made = head()
    assert np.array_equal(made.raw_scores("ξένος"), made.bias)
    assert np.array_equal(made.raw_scores(""), made.bias)


def test_the_smallest_weights_are_left_out_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = head()
    monkeypatch.setattr("mailroom.models.lexical_fit._MOST_WEIGHTS", 20)
    small = head()
    assert len(small.values) == 20 < len(whole.values)
    assert np.abs(small.values).min() >= np.sort(np.abs(whole.values))[-21]
    texts, targets = texts_of(60, seed=5)
    answers = [int(small.raw_scores(text).argmax()) for text in texts]
    assert answers == targets.tolist()


def test_the_commonest_features_are_kept_where_labels_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["refund the card", "refund a card", "refund my parcel"]
    monkeypatch.setattr("mailroom.models.lexical_fit._MOST_LEARNED", 400)
    kept = Bags.read(texts, 10).features
    assert 0 < len(kept) <= 40
    assert np.isin(text_features("refund")[0], kept).all()
    assert not np.isin(text_features("parcel")[0], kept).any()


def test_a_head_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lexical.npz"
    assert load_lexical(path) is None
    made = head()
    made.save(path)
    loaded = load_lexical(path)
    assert loaded is not None
    assert (loaded.labels, loaded.neutral, loaded.weight) == (made.labels, made.neutral, made.weight)
    assert np.array_equal(loaded.raw_scores("refund today"), made.raw_scores("refund today"))
    assert b"refund" not in path.read_bytes()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"lexical\.npz: expected a lexical head"):
        load_lexical(path)


def test_parts_that_do_not_fit_are_refused() -> None:
    made = head()
    with pytest.raises(ModelError, match="do not fit"):
        Lexical(**{**vars(made), "bias": made.bias[:1]})
    with pytest.raises(ModelError, match="not finite"):
        made.weighing(float("nan"))


def test_nothing_is_learned_of_one_label_or_of_no_text() -> None:
    bags = Bags.read(["refund", "charge"], 2)
    assert fit_svm(bags.matrix, np.zeros(2, dtype=np.intp), np.ones(2, dtype=np.float32)) is None
    with pytest.raises(DataError, match="texts to read words from"):
        Bags.read([], 2)


def test_words_that_tell_labels_apart_are_weighed_and_words_that_do_not_are_not() -> None:
    telling = learn_lexical(lessons(120, informative=True))
    assert telling is not None
    assert telling.weight > 0
    silent = learn_lexical(lessons(120, informative=False))
    assert silent is not None
    assert silent.weight == 0


def test_few_emails_leave_words_aside() -> None:
    made = learn_lexical(lessons(36, informative=True))
    assert made is not None
    assert made.weight == 0


def test_cross_fitted_scores_come_from_other_folds() -> None:
    asked = lessons(120, informative=True)
    scores, rows = cross_fitted_scores(asked)
    assert sorted(rows.tolist()) == list(range(120))
    assert (scores.argmax(axis=1) == asked.emails.targets[rows]).mean() > 0.95
    # An email that alone has its word must not know its own label.
    own = Lessons(asked.labels, asked.text_vectors, asked.emails, [f"w{n}" for n in range(120)], asked.folds)
    scores, rows = cross_fitted_scores(own)
    assert (scores.argmax(axis=1) == own.emails.targets[rows]).mean() < 0.7


def test_labels_without_examples_keep_their_mail() -> None:
    # Cosines are right for all three labels; words know the first two and are sure of themselves.
    generator = np.random.default_rng(0)
    targets = np.arange(120, dtype=np.intp) % 2
    rows = np.arange(120)
    cosines = generator.normal(0.3, 0.02, size=(120, 3)).astype(np.float32)
    cosines[rows, targets] += 0.1
    words = np.full((120, 3), np.nan, dtype=np.float32)
    words[rows, targets], words[rows, 1 - targets] = 1.0, -1.0
    known = Judged(cosines, words, targets, np.ones(120, dtype=np.float32))
    # Hidden labels: the email's own label has no word score, and the others' are those of foreign mail.
    unseen = np.full((120, 3), np.nan, dtype=np.float32)
    unseen[rows, 1 - targets] = generator.normal(-0.2, 0.3, size=120)
    hidden = Judged(cosines, unseen, targets, np.ones(120, dtype=np.float32))
    choice = choose_weight(known, hidden, 1 / 3)
    lost = (hidden.combined(choice.neutral, choice.weight).argmax(axis=1) != targets).mean()
    naive = choose_weight(known, None, 0.0)
    lost_naively = (hidden.combined(naive.neutral, max(naive.weight, 0.2)).argmax(axis=1) != targets).mean()
    assert lost < 0.05 < lost_naively


def test_words_beside_another_encoder_keep_the_neutral_score() -> None:
    targets = np.arange(60, dtype=np.intp) % 2
    rows = np.arange(60)
    words = np.full((60, 2), -1.0, dtype=np.float32)
    words[rows, targets] = 1.0
    cosines = np.full((60, 2), 0.5, dtype=np.float32)
    judged = Judged(cosines, words, targets, np.ones(60, dtype=np.float32))
    assert weight_beside(judged, 0.0) > 0
    wrong = Judged(cosines, -words, targets, np.ones(60, dtype=np.float32))
    assert weight_beside(wrong, 0.0) == 0
    assert weight_beside(judged.part(rows[:0]), 0.0) == 0
    assert Choice(0.0, 0.0) == choose_weight(judged.part(rows[:10]), None, 0.0)
