import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from mailroom.curate.confidence import rank_answers, stages_agree
from tests.curate.small import answer

sure = st.floats(0, 1, allow_nan=False)


def test_the_surest_answer_stands_first() -> None:
    ranks, others = rank_answers([answer("track", 0.2), answer("track", 0.9)], [answer("track", 0.5)])
    assert ranks.tolist() == [1.0, 0.5]
    assert others.tolist() == [0.5]


def test_a_high_probability_with_a_small_margin_is_not_sure() -> None:
    close_call = dataclasses.replace(answer("track", 0.9), margin=0.01)
    ranks, _ = rank_answers([close_call, answer("track", 0.8), answer("track", 0.3)], [])
    assert ranks.tolist() == [1.0, 1 / 3, 1.0]


@given(st.lists(sure, min_size=1), st.lists(sure))
def test_ranks_are_shares_of_the_pool(pool: list[float], others: list[float]) -> None:
    ranks, asked = rank_answers([answer("a", x) for x in pool], [answer("a", x) for x in others])
    for value, rank in zip(pool + others, [*ranks, *asked], strict=True):
        assert rank == sum(other >= value for other in pool) / len(pool)


def test_stages_agree_where_retrieval_says_the_same() -> None:
    assert stages_agree(answer("track", 0.9))
    assert not stages_agree(answer("track", 0.9, nearest="cancel"))
