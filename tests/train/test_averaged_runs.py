"""How many runs there is time for, and what is told of them; what their mean is shows `test_bi_encoder`."""

import pytest
from torch import nn

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


def test_progress_is_that_of_all_runs() -> None:
    seen: list[Progress] = []
    told = report_of(1, 3, seen.append, 100.0)
    assert told is not None
    told(Progress(4, 10, 0, 0.5, None, 6.0))
    told(Progress(5, 10, 0, 0.5, None, 600.0))
    assert [(one.step, one.total_steps) for one in seen] == [(14, 30), (15, 30)]
    # What is left of this run, and another one as long; at most what the budget allows.
    assert seen[0].seconds_left == pytest.approx(12.0, abs=1.0)
    assert seen[1].seconds_left == pytest.approx(100.0, abs=1.0)
    assert report_of(0, 1, None, None) is None
