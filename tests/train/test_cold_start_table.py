"""The table over left-out sets: judged by weights that have not seen them, and by all of the bar."""

import json
from pathlib import Path

import pytest

from benchmarks.cold_start import JUDGED, unseen, verdict
from mailroom.train.cold_start import ORIGIN_FILE

PUBLIC = ("clinc150", "bitext", "cfpb")


def write_run(runs: Path, name: str, trained_on: list[str], seed: int = 0) -> None:
    (runs / name).mkdir(parents=True)
    (runs / name / ORIGIN_FILE).write_text(json.dumps({"trained_on": trained_on, "seed": seed}))


def test_a_set_is_judged_by_the_widest_weights_that_have_not_seen_it(tmp_path: Path) -> None:
    write_run(tmp_path, "all", list(PUBLIC))
    write_run(tmp_path, "mailboxes", [])
    write_run(tmp_path, "without_cfpb", ["clinc150", "bitext"])
    chosen = {name: weights.parent.name for name, _, weights in unseen(tmp_path)}
    assert chosen == {
        "clinc150": "mailboxes",
        "bitext": "mailboxes",
        "cfpb": "without_cfpb",
        "20news": "all",
        "multilang_tickets": "all",
    }


def test_every_seed_must_judge_every_set(tmp_path: Path) -> None:
    write_run(tmp_path, "first", [], seed=0)
    write_run(tmp_path, "second", [], seed=1)
    assert [(name, seed) for name, seed, _ in unseen(tmp_path)] == [(n, s) for n in JUDGED for s in (0, 1)]
    write_run(tmp_path, "third", ["bitext"], seed=2)
    with pytest.raises(SystemExit, match=r"seed 2 .* left out bitext"):
        unseen(tmp_path)


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=ORIGIN_FILE):
        unseen(tmp_path)


@pytest.mark.parametrize(
    ("gains", "passes"),
    [
        ((3.0, 3.0, 3.0, 3.0, 3.0), True),
        ((9.0, 9.0, 9.0, 9.0, 0.0), False),
        ((2.9, 2.9, 2.9, 2.9, 2.9), False),
        ((0.1, 0.1, 0.1, 0.1, 14.6), True),
    ],
)
def test_the_bar_asks_for_a_gain_on_every_set_and_on_average(gains: tuple[float, ...], passes: bool) -> None:
    rows = [
        {"set": name, "retrieval": 50.0, "reranked": 50.0 + gain + spread}
        for name, gain in zip(JUDGED, gains, strict=True)
        for spread in (-1.0, 1.0)
    ]
    assert ("passes the bar" in verdict(rows)) is passes
