from collections.abc import Sequence

from mailroom.curate.gold import Gold, collect_gold
from mailroom.curate.silver import MAX_WEIGHT, MIN_WEIGHT, ClassifiedEmail, Silver, collect_silver
from mailroom.curate.split import SplitShares
from mailroom.curate.thresholds import Audited, SilverRules
from tests.curate.small import Classified, Row, answer, letters, tree, word

NO_GOLD = Gold((), (), (), ())
# Everything is sure enough, so that the tests see what else decides.
ALL = SilverRules(unproven_share=1.0)


def mail(number: int, label: str = "track", sure: float = 0.9, **changes: str) -> Classified:
    email_id = f"mail-{number}"
    text = changes.get("text", letters(number))
    return Classified(email_id, text, answer(label, sure, email_id), changes.get("thread", ""))


def silver(
    pool: Sequence[ClassifiedEmail],
    labelled: Sequence[Row] = (),
    rules: SilverRules = ALL,
    gold: Gold = NO_GOLD,
    audited: Sequence[Audited] = (),
) -> Silver:
    return collect_silver(pool, audited, labelled, gold, tree(), rules)


def test_a_sure_answer_becomes_a_silver_example() -> None:
    email = mail(1, thread="thread-1")
    (example,) = silver([email]).examples
    assert (example.label, example.grade, example.source) == ("track", "silver", "model")
    assert (example.email_id, example.text, example.thread) == ("mail-1", email.text, "thread-1")
    assert example.candidates == email.prediction.candidates


def test_weights_fall_with_confidence_and_stay_below_gold() -> None:
    found = silver([mail(number, sure=number / 10) for number in range(1, 10)])
    weights = {example.email_id: example.weight for example in found.examples}
    ranked = [weights[f"mail-{number}"] for number in range(1, 10)]
    assert ranked == sorted(ranked)
    assert MIN_WEIGHT <= ranked[0] < ranked[-1] < MAX_WEIGHT < 1


def test_an_email_with_a_label_is_never_silver() -> None:
    row = Row("mail-1", "another text", (word("cancel"),))
    found = silver([mail(1), mail(2)], [row])
    assert [example.email_id for example in found.examples] == ["mail-2"]
    assert found.report.left_out == {"has a label": 1}


def test_an_email_that_resembles_one_with_a_label_is_never_silver() -> None:
    row = Row("labelled", letters(1, 40), (word("gone"),))
    found = silver([mail(1, text=letters(1, 40) + " more"), mail(2)], [row])
    assert [example.email_id for example in found.examples] == ["mail-2"]
    assert found.report.left_out == {"resembles a labelled one": 1}


def test_of_emails_that_resemble_each_other_one_is_silver() -> None:
    found = silver([mail(number, text=f"Order {number} has not arrived") for number in range(9)])
    assert len(found.examples) == 1
    assert found.report.left_out == {"resembles another one": 8}


def test_a_conversation_that_models_are_judged_by_gives_no_silver() -> None:
    rows = [Row(f"labelled-{i}", letters(100 + i), (word("track"),), f"thread-{i}") for i in range(40)]
    gold = collect_gold(rows, tree(), SplitShares(0.3, 0.3))
    pool = [mail(i, thread=f"thread-{i}") for i in range(40)]
    found = silver(pool, rows, gold=gold)
    assert {example.thread for example in found.examples} == {example.thread for example in gold.train}


def test_answers_that_can_no_more_be_given_are_left_out() -> None:
    found = silver([mail(1, "gone"), mail(2, "orders"), mail(3)])
    assert [example.email_id for example in found.examples] == ["mail-3"]
    assert found.report.left_out == {"retired label": 2}


def test_no_label_goes_beyond_its_cap() -> None:
    pool = [mail(number, "track" if number % 4 else "cancel") for number in range(60)]
    found = silver(pool, rules=SilverRules(unproven_share=1.0, max_per_label=20))
    assert found.report.labels == {"track": 20, "cancel": 15}
    assert found.report.left_out == {"beyond the label's cap": 25}


def test_a_cap_takes_no_account_of_confidence_but_of_the_seed() -> None:
    pool = [mail(number, sure=number / 200) for number in range(1, 200)]
    rules = [SilverRules(unproven_share=1.0, max_per_label=50, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (
        {example.email_id for example in silver(pool, rules=each).examples} for each in rules
    )
    assert first == again != other
    mean = sum(int(name.removeprefix("mail-")) for name in first) / 50
    assert 80 < mean < 120


def test_the_report_accounts_for_every_email() -> None:
    pool = [mail(number, "track" if number % 3 else "gone", sure=number / 100) for number in range(100)]
    report = silver(pool, rules=SilverRules(max_per_label=3)).report
    assert report.pool == 100 == report.taken + sum(report.left_out.values())
    assert report.taken == sum(report.labels.values()) == 3
    assert report.to_dict()["thresholds"][0]["basis"] == "unproven"


def test_audits_prove_what_silver_is_worth() -> None:
    audited = [Audited(answer("track", i / 150, f"audit-{i}"), "track") for i in range(150)]
    report = silver([mail(number, sure=number / 100) for number in range(100)], audited=audited).report
    assert [threshold.basis for threshold in report.thresholds] == ["audited"]
    assert report.taken > 50


def test_an_empty_pool_gives_nothing() -> None:
    assert silver([]).examples == ()
