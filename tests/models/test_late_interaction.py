"""Late interaction as it is exported: equal to torch, whatever the company, and clear about bad folders."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailroom.errors import ModelError
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.encoder_config import CONFIG_NAME
from mailroom.models.export import export_bi_encoder
from mailroom.models.export_one_pass import export_late_interaction
from mailroom.models.late_interaction import LateInteraction, reweighed
from mailroom.models.parity import cross_parity
from mailroom.models.shared_reading import email_reader, shared_reading

torch = pytest.importorskip("torch")

from transformers import AutoModel  # noqa: E402

from tests.models.tiny import TEXTS, make_bi_encoder  # noqa: E402
from tests.train.small_models import WORDS, make_encoder  # noqa: E402

LABELS = ["delivery of a parcel", "password reset", "refund", "invoice"]
WEIGHT = 0.4
texts = st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=30).map(" ".join)
label_lists = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), min_size=2, max_size=8
)


def export(encoder: Path, directory: Path) -> Path:
    export_late_interaction(encoder, directory / "late", WEIGHT, 0.075)
    return directory / "late"


@pytest.fixture(scope="module", params=["bert", "roberta"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def late(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> LateInteraction:
    return LateInteraction.load(export(encoder, tmp_path_factory.mktemp("exported")), "fp32")


def by_torch(encoder: Path, late: LateInteraction, text: str, labels: Sequence[str]) -> list[float]:
    """The definition, word by word."""
    model = AutoModel.from_pretrained(encoder).eval()

    def words(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            states = model(input_ids=torch.tensor(ids)[None]).last_hidden_state[0, 1:-1]
        unit: np.ndarray = torch.nn.functional.normalize(states, dim=-1).numpy()
        return unit

    email = words(late._emails.ids(text))
    scores = []
    for label in labels:
        asked = words(late._labels.ids(label)) if len(email) else email
        best = [max(float(word @ other) for other in email) for word in asked]
        scores.append(WEIGHT * sum(best) / len(best) if best else 0.0)
    return scores


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, labels=label_lists)
def test_a_score_is_the_mean_of_each_words_best_match(
    encoder: Path, late: LateInteraction, text: str, labels: list[str]
) -> None:
    assert late.score(text, labels) == pytest.approx(by_torch(encoder, late, text, labels), abs=1e-3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, labels=label_lists)
def test_a_score_does_not_depend_on_the_other_labels(
    late: LateInteraction, text: str, labels: list[str]
) -> None:
    together = late.score(text, labels)
    alone = np.concatenate([late.score(text, [label]) for label in labels])
    backwards = late.score(text, labels[::-1])[::-1]
    assert np.allclose(together, alone, atol=1e-6)
    assert np.allclose(together, backwards, atol=1e-6)


def test_the_same_words_match_themselves(late: LateInteraction) -> None:
    assert late.score(WORDS[0], [WORDS[0]])[0] == pytest.approx(WEIGHT, abs=1e-3)


def test_no_words_on_either_side_score_nothing(late: LateInteraction) -> None:
    assert late.score("", LABELS).tolist() == [0.0] * len(LABELS)
    assert late.score(WORDS[0], ["", WORDS[0]])[0] == 0.0
    assert late.score(WORDS[0], []).shape == (0,)


def test_one_reading_serves_both_stages(tmp_path: Path) -> None:
    make_bi_encoder(tmp_path, "bert", "mean")
    export_bi_encoder(tmp_path / "model", tmp_path / "bi_encoder")
    directory = export(tmp_path / "model", tmp_path)
    assert shared_reading(tmp_path / "bi_encoder", directory, LABELS, TEXTS) == {"fp32": True, "int8": True}


def test_int8_is_held_to_the_gate_and_opened_by_its_kind(encoder: Path, tmp_path: Path) -> None:
    directory = export(encoder, tmp_path)
    fp32, int8 = (load_cross_encoder(directory, "fp32"), load_cross_encoder(directory, "int8"))
    assert fp32.kind == "late-interaction"
    assert email_reader(fp32) is fp32
    report = cross_parity(fp32, int8, LABELS, [" ".join(WORDS[i : i + 6]) for i in range(12)])
    assert report.mean_difference < 0.1


def test_weights_that_are_no_numbers_are_refused(encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from mailroom.train.one_pass_weights import TOKENIZER_FILES

    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("config.json", *TOKENIZER_FILES):
        if (encoder / name).is_file():
            (damaged / name).write_bytes((encoder / name).read_bytes())
    tensors = load_file(encoder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.0.output.dense.weight"))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, damaged / "model.safetensors")
    with pytest.raises(ModelError, match="non-finite"):
        export(damaged, tmp_path)


@pytest.mark.parametrize("field", ["weight", "temperature"])
def test_a_config_without_meaning_is_refused(encoder: Path, tmp_path: Path, field: str) -> None:
    directory = export(encoder, tmp_path)
    content = json.loads((directory / CONFIG_NAME).read_text())
    (directory / CONFIG_NAME).write_text(json.dumps(content | {field: 0}))
    with pytest.raises(ModelError, match=field):
        LateInteraction.load(directory, "fp32")


def test_other_families_are_refused(tmp_path: Path) -> None:
    make_bi_encoder(tmp_path, "mpnet", "mean")
    with pytest.raises(ModelError, match="mpnet"):
        export(tmp_path / "model", tmp_path)


def test_another_weight_is_another_folder(encoder: Path, late: LateInteraction, tmp_path: Path) -> None:
    source, target = export(encoder, tmp_path), tmp_path / "made" / "late"
    for weight in (0.1, 0.8):
        reweighed(source, target, weight, 0.05)
        again = LateInteraction.load(target, "fp32")
        assert (again.weight, again.temperature) == (weight, 0.05)
        expected = late.score("delivery of a parcel", LABELS) * weight / WEIGHT
        assert again.score("delivery of a parcel", LABELS) == pytest.approx(expected, abs=1e-6)
    assert LateInteraction.load(source, "fp32").weight == WEIGHT


def test_a_folder_that_is_no_late_interaction_cannot_be_weighed(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        reweighed(tmp_path, tmp_path / "again", 0.1, 0.05)


def test_labels_that_were_read_before_are_not_read_again(encoder: Path, tmp_path: Path) -> None:
    late = LateInteraction.load(export(encoder, tmp_path), "fp32")
    expected = late.score("delivery of a parcel", LABELS)
    again = LateInteraction.load(tmp_path / "late", "fp32")
    again.read_labels(LABELS)
    read = []
    inner = again._run
    again._run = lambda outputs, inputs: read.append(outputs) or inner(outputs, inputs)  # type: ignore[func-returns-value]
    assert again.score("delivery of a parcel", LABELS) == pytest.approx(expected, abs=1e-6)
    assert len(read) == 2  # the email, and the product
