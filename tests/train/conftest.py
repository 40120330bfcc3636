"""Small models run on one thread: handing a few multiplications to a second one costs more than it saves."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
