from dataclasses import replace

import numpy as np
import pytest

from mailroom.classify.classifier import Classifier, LabelEntry, Provenance
from mailroom.classify.marks import ReviewRules
from mailroom.config import ClassifySettings
from mailroom.records import Email
from tests.fakes import HashingEncoder, JointReader, OverlapScorer

LABELS = [
    LabelEntry("refund", ("money", "refund"), "refund money back"),
    LabelEntry("delivery", ("orders", "late delivery"), "late delivery parcel"),
    LabelEntry("password", ("account", "password"), "forgotten password login"),
]


def classifier(
    cross_encoder: OverlapScorer | None = None,
    top_k: int = 2,
    rerank_above_share: float = 0.0,
    shared_reader: JointReader | None = None,
    rules: ReviewRules | None = None,
) -> Classifier:
    encoder = HashingEncoder()
    vectors = encoder.encode_passages([label.text for label in LABELS])
    settings = ClassifySettings(top_k=top_k, rerank_above_share=rerank_above_share)
    provenance = Provenance("v1", "abc")
    return Classifier(
        encoder, vectors, LABELS, settings, provenance, cross_encoder, shared_reader, rules=rules
    )


def test_the_nearest_label_is_the_answer_without_a_cross_encoder() -> None:
    prediction = classifier().classify(Email("1", "late delivery", "my parcel"))
    assert prediction.label == "delivery"
    assert prediction.path == ("orders", "late delivery")
    assert prediction.decided_by == "retrieval"
    assert [candidate.score for candidate in prediction.candidates] == [None, None]
    assert (prediction.model, prediction.taxonomy, prediction.email_id) == ("v1", "abc", "1")


def test_the_cross_encoder_decides_among_the_candidates() -> None:
    # By cosine the short overlap wins; the reranker counts words and prefers the other.
    email = Email("1", "", "refund refund refund late delivery parcel")
    assert classifier().classify(email).label == "refund"
    prediction = classifier(OverlapScorer()).classify(email)
    assert prediction.label == "delivery"
    assert prediction.decided_by == "cross_encoder"
    assert [candidate.score for candidate in prediction.candidates] == [3.0, 1.0]


def test_the_similarity_counts_as_much_as_the_cross_encoder_asks() -> None:
    email = Email("1", "", "refund refund refund refund late delivery parcel")
    assert classifier(OverlapScorer(similarity_weight=0.1)).classify(email).label == "delivery"
    prediction = classifier(OverlapScorer(similarity_weight=100.0)).classify(email)
    assert prediction.label == "refund"
    assert [candidate.score for candidate in prediction.candidates] == [1.0, 3.0]


def test_where_retrieval_leaves_nothing_to_decide_nothing_is_reranked() -> None:
    email = Email("1", "", "refund money back")
    scorer = OverlapScorer()
    prediction = classifier(scorer, top_k=3, rerank_above_share=0.5).classify(email)
    assert (prediction.label, prediction.decided_by, scorer.scored) == ("refund", "retrieval", 0)
    assert prediction == replace(
        classifier(top_k=3).classify(email),
        id=prediction.id,
        created_at=prediction.created_at,
        latency_ms=prediction.latency_ms,
    )


def test_candidates_far_behind_keep_their_place_without_a_score() -> None:
    email = Email("1", "", "refund refund refund late delivery parcel")
    scorer = OverlapScorer()
    prediction = classifier(scorer, top_k=3, rerank_above_share=0.001).classify(email)
    assert (prediction.label, prediction.decided_by, scorer.scored) == ("delivery", "cross_encoder", 2)
    assert [(one.label, one.score) for one in prediction.candidates] == [
        ("delivery", 3.0), ("refund", 1.0), ("password", None),
    ]  # fmt: skip
    assert sum(one.probability for one in prediction.candidates) == pytest.approx(1.0)


def test_a_single_label_is_reranked_whatever_the_share() -> None:
    scorer = OverlapScorer()
    prediction = classifier(scorer, top_k=1, rerank_above_share=1.0).classify(Email("1", "", "late parcel"))
    assert (prediction.decided_by, prediction.probability, scorer.scored) == ("cross_encoder", 1.0, 1)


def test_a_shared_reading_gives_the_same_answers_and_is_read_once() -> None:
    reader = JointReader()
    together = classifier(reader, top_k=3, shared_reader=reader)
    apart = classifier(OverlapScorer(), top_k=3)
    for text in ("late delivery parcel refund", "", "password"):
        one, other = (each.classify(Email("1", "", text)) for each in (together, apart))
        assert (one.label, one.candidates, one.margin) == (other.label, other.candidates, other.margin)
    assert reader.read_texts == 3


def test_the_cross_encoders_temperature_makes_the_probabilities() -> None:
    email = Email("1", "", "late delivery parcel refund")
    sharp, flat = (classifier(OverlapScorer(temperature=t)).classify(email).probability for t in (0.5, 50))
    assert sharp > 0.9
    assert flat == pytest.approx(0.5, abs=0.05)


def test_candidates_are_best_first_and_probabilities_sum_to_one() -> None:
    prediction = classifier(top_k=3).classify(Email("1", "", "password login"))
    assert prediction.candidates[0].label == prediction.label
    assert sum(candidate.probability for candidate in prediction.candidates) == pytest.approx(1.0)
    assert prediction.margin == pytest.approx(
        prediction.candidates[0].probability - prediction.candidates[1].probability
    )


def test_an_empty_email_gets_a_label_all_the_same() -> None:
    prediction = classifier().classify(Email("1", "", ""))
    assert prediction.label in {"refund", "delivery", "password"}
    assert np.isfinite(prediction.probability)


@pytest.mark.parametrize(("subject", "body"), [("", ""), (" ", "\n\n"), ("--", "!?"), ("", "\u200b…")])
def test_an_email_without_a_word_is_marked_however_sure_the_answer_is(subject: str, body: str) -> None:
    sure = classifier(rules=ReviewRules(0.0, 0.0))
    assert sure.classify(Email("1", "", "x")).review_reasons == ()
    prediction = sure.classify(Email("2", subject, body))
    assert prediction.review_reasons == ("no_text",)
    assert prediction.needs_review


def test_latency_names_every_step_and_their_total() -> None:
    latency = classifier().classify(Email("1", "", "hello")).latency_ms
    assert list(latency) == ["encode", "retrieve", "rerank", "decide", "total"]
    parts = sum(value for step, value in latency.items() if step != "total")
    assert latency["total"] == pytest.approx(parts, abs=0.01)


def test_prediction_ids_rise_with_time() -> None:
    answers = [classifier().classify(Email(str(number), "", "hello")) for number in range(5)]
    assert [answer.id for answer in answers] == sorted(answer.id for answer in answers)


def test_an_email_that_no_label_fits_is_marked_as_such_and_still_has_its_label() -> None:
    settings = ClassifySettings(review_below_probability=0.0, review_below_margin=0.0)
    known, foreign = Email("1", "", "late delivery of my parcel"), Email("2", "", "planets orbit stars")
    rules = ReviewRules.of(settings, None, outside_above=-0.3)
    answers = [classifier(rules=rules).classify(email) for email in (known, foreign)]
    assert [answer.review_reasons for answer in answers] == [(), ("out_of_taxonomy",)]
    assert [answer.needs_review for answer in answers] == [False, True]
    assert answers[1].label


def test_what_words_say_is_added_before_labels_are_ranked() -> None:
    class Words:
        def score(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            assert text == "late delivery\nmy parcel"
            return np.array([0.0, 0.0, 2.0], dtype=np.float32)

    email = Email("1", "late delivery", "my parcel")
    plain = classifier(top_k=3).classify(email)
    helped = Classifier(
        HashingEncoder(),
        HashingEncoder().encode_passages([label.text for label in LABELS]),
        LABELS,
        ClassifySettings(top_k=3),
        Provenance("v1", "abc"),
        words=Words(),
    ).classify(email)
    assert (plain.label, helped.label) == ("delivery", "password")
    before = {candidate.label: candidate.similarity for candidate in plain.candidates}
    after = {candidate.label: candidate.similarity for candidate in helped.candidates}
    assert after["password"] == pytest.approx(before["password"] + 2)
    assert after["refund"] == pytest.approx(before["refund"])
    assert helped.candidates[0].probability > 0.99
