"""What a cross-encoder of a cycle starts from, and which examples it is shown."""

import json
from pathlib import Path

import pytest

from mailroom.cycle.parts import Parts
from mailroom.cycle.reranking import continued, to_learn, why_no_cross_encoder
from mailroom.cycle.setup import Setup
from mailroom.models.one_pass_config import ONE_PASS_KEY
from mailroom.records import Example, Grade


def examples(label: str, count: int, grade: Grade = "gold") -> list[Example]:
    source = "import" if grade == "gold" else "model"
    return [Example(f"{label}{grade}{n}", f"about {label} {n}", label, grade, source) for n in range(count)]


def setup_with(root: Path, config: dict[str, object] | None) -> Setup:
    weights = root / "cross_encoder" / "weights"
    weights.mkdir(parents=True)
    if config is not None:
        (weights / "config.json").write_text(json.dumps(config))
    return Setup("champion", str(root / "bi"), "fp32", cross_encoder=str(weights.parent))


@pytest.mark.parametrize(
    ("config", "goes_on"),
    [({ONE_PASS_KEY: {}}, True), ({"model_type": "bert"}, False), (None, False)],
)
def test_training_goes_on_only_with_a_one_pass_cross_encoder(
    tmp_path: Path, config: dict[str, object] | None, goes_on: bool
) -> None:
    champion = setup_with(tmp_path, config)
    assert (continued(champion) is not None) == goes_on
    assert (why_no_cross_encoder(Setup("trained", str(tmp_path), "fp32"), champion) is None) == goes_on


def test_a_new_cross_encoder_learns_from_everything() -> None:
    train = (*examples("a", 8), *examples("b", 3, "silver"))
    assert to_learn(Parts(train, (), (), frozenset({"agold0"})), False, 0) == list(train)


def test_one_that_goes_on_sees_what_is_new_and_as_much_old_gold_of_every_label() -> None:
    old = [*examples("a", 50), *examples("b", 2)]
    new = [*examples("c", 3), *examples("a", 1, "silver")]
    fresh = frozenset(example.email_id for example in new)
    found = to_learn(Parts((*old, *new), (), (), fresh), True, 0)
    assert set(new) <= set(found)
    assert len(found) == 8
    replayed = [example for example in found if example not in new]
    assert sorted(example.label for example in replayed) == ["a", "a", "b", "b"]


def test_where_nothing_is_new_old_gold_is_all_there_is() -> None:
    old = tuple(examples("a", 4))
    assert to_learn(Parts(old, (), (), frozenset()), True, 0) == list(old)
