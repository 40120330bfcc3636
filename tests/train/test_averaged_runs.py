"""How many runs there is time for, and what is told of them; what their mean is shows `test_bi_encoder`."""

import pytest
from torch import nn

from mailroom.errors import ModelError
from mailroom.train.averaged_runs import Run, averaged, report_of
from mailroom.train.loop import Progress, TrainResult


@pytest.mark.parametrize(
    ("budget_s", "left"),
    [
        (None, [None, None, None]),
        (40.0, [40.0, 30.0, 20.0]),
        (31.0, [31.0, 21.0, 11.0]),
        (30.0, [30.0, 20.0]),
        (20.0, [20.0]),
        (5.0, [5.0]),
    ],
)
def test_another_run_begins_where_there_is_time_for_it(
    budget_s: float | None, left: list[float | None]
) -> None:
    given: list[float | None] = []

    def train(number: int, left_s: float | None) -> Run[nn.Module]:
        assert number == len(given)
        given.append(left_s)
        return Run(nn.Linear(2, 2), TrainResult(number, 0.0, 0, (), False), 10.0)

    _, results = averaged(train, 3, budget_s)
    assert given == left
    assert [one.steps for one in results] == list(range(len(left)))


def test_a_run_that_breaks_down_leaves_those_before_it() -> None:
    def train(number: int, _: float | None) -> Run[nn.Linear]:
        if number == 2:
            raise ModelError("the loss is not finite")
        module = nn.Linear(1, 1)
        nn.init.constant_(module.weight, float(number))
        return Run(module, TrainResult(number, 0.0, 0, (), False), 1.0)

    module, results = averaged(train, 3, None)
    assert (float(module.weight.detach()), len(results)) == (0.5, 2)

    def never(number: int, left_s: float | None) -> Run[nn.Module]:
        raise ModelError("at once")

    with pytest.raises(ModelError, match="at once"):
        averaged(never, 3, None)


def test_what_was_not_trained_stays_as_it_is() -> None:
    def train(number: int, _: float | None) -> Run[nn.Linear]:
        module = nn.Linear(1, 1)
        nn.init.constant_(module.weight, float(number))
        nn.init.constant_(module.bias, 7.0).requires_grad_(False)
        return Run(module, TrainResult(number, 0.0, 0, (), False), 1.0)

    module, _ = averaged(train, 4, None)
    assert (float(module.weight.detach()), float(module.bias)) == (1.5, 7.0)


def test_progress_is_that_of_all_runs_that_there_is_time_for() -> None:
    seen: list[Progress] = []

    def tell(run: int, budget_s: float | None, seconds: float, one: Progress) -> tuple[int, int, float]:
        told = report_of(run, 3, seen.append, budget_s, lambda: seconds)
        assert told is not None
        told(one)
        return seen[-1].step, seen[-1].total_steps, seen[-1].seconds_left

    a_run = Progress(4, 10, 0, 0.5, None, 6.0)
    # Ten seconds a run: the rest of this one, and those behind it.
    assert tell(0, None, 4.0, a_run) == (4, 30, 26.0)
    assert tell(1, None, 4.0, a_run) == (14, 30, 16.0)
    assert tell(0, 40.0, 4.0, a_run) == (4, 30, 26.0)
    assert tell(0, 25.0, 4.0, a_run) == (4, 20, 16.0)
    assert tell(0, 15.0, 4.0, a_run) == (4, 10, 6.0)
    assert report_of(0, 1, None, None, lambda: 0.0) is None
