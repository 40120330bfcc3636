"""The listwise losses against values computed by hand."""

import math

import pytest
import torch

from mailroom.train.losses import listwise_cross_entropy, listwise_soft_cross_entropy


def test_one_hot_loss_is_minus_log_of_the_right_share() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    first = -math.log(math.e**1 / (math.e**2 + math.e**1 + 1))
    second = -math.log(math.e**3 / (math.e**3 + 2))
    loss = listwise_cross_entropy(scores, torch.tensor([1, 2]))
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6)


def test_targets_are_not_smoothed_by_a_second_softmax() -> None:
    scores = torch.zeros(1, 20)
    scores[0, 3] = 50.0
    assert float(listwise_cross_entropy(scores, torch.tensor([3]))) < 1e-6


def test_a_good_ranking_costs_less_than_a_bad_one() -> None:
    good, bad = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 3.0]])
    target = torch.tensor([0])
    assert listwise_cross_entropy(good, target) < listwise_cross_entropy(bad, target)
    soft = torch.tensor([[0.7, 0.2, 0.1]])
    assert listwise_soft_cross_entropy(good, soft) < listwise_soft_cross_entropy(bad, soft)


def test_soft_loss_with_one_hot_rows_is_the_one_hot_loss() -> None:
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 6, 3, 2, 2])
    one_hot = torch.nn.functional.one_hot(target, 7).float()
    assert torch.allclose(
        listwise_soft_cross_entropy(scores, one_hot), listwise_cross_entropy(scores, target)
    )


def test_soft_loss_by_hand() -> None:
    scores = torch.tensor([[math.log(3.0), 0.0]])  # shares 0.75, 0.25
    loss = listwise_soft_cross_entropy(scores, torch.tensor([[0.5, 0.5]]))
    assert float(loss) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25), rel=1e-6)


def test_absent_candidates_take_no_part() -> None:
    full = torch.tensor([[1.0, 2.0]])
    padded = torch.tensor([[1.0, 2.0, float("-inf")]], requires_grad=True)
    loss = listwise_cross_entropy(padded, torch.tensor([0]))
    assert float(loss.detach()) == pytest.approx(float(listwise_cross_entropy(full, torch.tensor([0]))))
    soft = listwise_soft_cross_entropy(padded, torch.tensor([[0.4, 0.6, 0.0]]))
    assert math.isfinite(float(soft.detach()))
    (loss + soft).backward()  # type: ignore[no-untyped-call]
    assert padded.grad is not None
    assert torch.isfinite(padded.grad).all()


def test_weights_shift_the_mean() -> None:
    scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    target = torch.tensor([0, 0])
    weighted = listwise_cross_entropy(scores, target, torch.tensor([1.0, 0.0]))
    assert float(weighted) == pytest.approx(float(listwise_cross_entropy(scores[:1], target[:1])))
