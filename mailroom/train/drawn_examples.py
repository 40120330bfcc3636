"""A sampler's candidate sets → token ids, an epoch at a time, drawn by several processes ahead of training.

On a GPU an example is trained on faster than one process draws and encodes it. What is drawn depends on the
sampler's seed alone, never on the number of processes.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from mailroom.models.one_pass_config import OnePassConfig
from mailroom.train.candidate_sets import CandidateSampler
from mailroom.train.ranking_batches import EncodedExample, ExampleEncoder

Part = list[EncodedExample]


class DrawnExamples:
    """An epoch's number → its examples; a context manager, since it may own processes.

    The next epoch is drawn while the caller uses this one.
    """

    def __init__(
        self, sampler: CandidateSampler, tokenizer_path: Path, config: OnePassConfig, workers: int = 0
    ) -> None:
        """`config` says how many tokens are read; 0 `workers` draws in this process, when asked."""
        self._sampler = sampler
        self._drawer = _Drawer(sampler, tokenizer_path, config)
        self._pool: ProcessPoolExecutor | None = None
        if workers > 0:
            # A process that holds a GPU or threads must not be forked.
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), _start_worker, (sampler, tokenizer_path, config)
            )
        self._ahead: dict[int, list[Future[Part]]] = {}

    def __call__(self, epoch: int) -> list[EncodedExample]:
        """That epoch's examples (count of the sampler), the same ones for a seed and an epoch."""
        if self._pool is None:
            return _joined(self._drawer.part(epoch, number) for number in range(self._sampler.chunks))
        for wanted in (epoch, epoch + 1):
            if wanted not in self._ahead:
                numbers = range(self._sampler.chunks)
                self._ahead[wanted] = [self._pool.submit(_part, wanted, number) for number in numbers]
        return _joined(future.result() for future in self._ahead.pop(epoch))

    def __enter__(self) -> "DrawnExamples":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; what was drawn ahead is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class _Drawer:
    def __init__(self, sampler: CandidateSampler, tokenizer_path: Path, config: OnePassConfig) -> None:
        self._sampler, self._encoder = sampler, ExampleEncoder(tokenizer_path, config)

    def part(self, epoch: int, number: int) -> Part:
        return [self._encoder.encode(example) for example in self._sampler.chunk(epoch, number)]


# A worker process's own drawer: it is too large to travel with every part.
_worker: list[_Drawer] = []


def _start_worker(sampler: CandidateSampler, tokenizer_path: Path, config: OnePassConfig) -> None:
    _worker[:] = [_Drawer(sampler, tokenizer_path, config)]


def _part(epoch: int, number: int) -> Part:
    return _worker[0].part(epoch, number)


def _joined(parts: Iterable[Part]) -> Part:
    return [example for part in parts for example in part]
