"""The exported one-pass cross-encoder: equal to torch, invariant, and clear about bad folders."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailroom.errors import ModelError
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.export_one_pass import export_one_pass
from mailroom.models.one_pass import MAX_LABEL_TOKENS_A_RUN, OnePassCrossEncoder
from mailroom.models.parity import cross_parity
from mailroom.models.runtime import Precision

torch = pytest.importorskip("torch")

from mailroom.train.one_pass_model import Batch, OnePassModel  # noqa: E402
from mailroom.train.one_pass_weights import from_encoder, save_one_pass  # noqa: E402
from tests.train.small_models import WORDS, make_encoder  # noqa: E402

TOLERANCE = 1e-4
PRECISIONS: tuple[Precision, Precision] = ("fp32", "int8")
texts = st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=30).map(" ".join)
label_lists = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=12
)

VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "bert-mean": ("bert", {}),
    "bert-cls": ("bert", {"pooling": "cls"}),
    "roberta": ("roberta", {}),
    "linear": (
        "bert",
        {"readout": "linear", "positions": "continued", "max_email_tokens": 40, "max_label_tokens": 20},
    ),
    "two-towers": ("bert", {"separate_candidate_tower": True}),
    "prompts": (
        "bert",
        {"email_prompt": "help ", "label_prompt": "the ", "temperature": 1.5, "similarity_weight": 12.0},
    ),
}


def make_trained(directory: Path, family: str, choices: dict[str, object]) -> OnePassModel:
    """A one-pass cross-encoder whose gates and towers have moved from their start, saved under `weights`."""
    encoder = make_encoder(directory / "encoder", family)
    model = from_encoder(encoder, **choices).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.gate.add_(torch.randn(model.gate.shape, generator=generator))
        for parameter in model.candidate_layers.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_one_pass(model, directory / "weights", encoder)
    return model


def torch_scores(
    model: OnePassModel, exported: OnePassCrossEncoder, text: str, labels: list[str]
) -> np.ndarray:
    email = exported._emails.ids(model.config.email_prompt + text)
    ids = [exported._ids_of_label(label) for label in labels]
    batch = Batch(
        torch.tensor(email)[None],
        torch.tensor([len(email)]),
        torch.tensor(np.concatenate(ids))[None],
        torch.tensor([[len(one) for one in ids]]),
    )
    with torch.no_grad():
        result: np.ndarray = model(batch)[0].numpy()
    return result


@pytest.fixture(scope="module", params=list(VARIANTS))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[OnePassModel, Path]:
    directory = tmp_path_factory.mktemp(request.param)
    model = make_trained(directory, *VARIANTS[request.param])
    export_one_pass(directory / "weights", directory / "exported")
    return model, directory / "exported"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> OnePassCrossEncoder:
    directory = tmp_path_factory.mktemp("exported")
    make_trained(directory, "bert", {})
    export_one_pass(directory / "weights", directory / "exported")
    return OnePassCrossEncoder.load(directory / "exported", "fp32")


@pytest.fixture(scope="module")
def trained_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnePassCrossEncoder, OnePassCrossEncoder]:
    directory = tmp_path_factory.mktemp("trained-pair")
    make_trained(directory, "bert", {"separate_candidate_tower": True})
    export_one_pass(directory / "weights", directory / "exported")
    fp32, int8 = (OnePassCrossEncoder.load(directory / "exported", name) for name in PRECISIONS)
    return fp32, int8


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, labels=label_lists)
def test_fp32_graph_equals_torch(pair: tuple[OnePassModel, Path], text: str, labels: list[str]) -> None:
    model, directory = pair
    exported = OnePassCrossEncoder.load(directory, "fp32")
    scores = exported.score(text, labels)
    assert scores.dtype == np.float32
    assert np.allclose(scores, torch_scores(model, exported, text, labels), atol=TOLERANCE)


def test_int8_graph_is_near_fp32(pair: tuple[OnePassModel, Path]) -> None:
    fp32, int8 = (OnePassCrossEncoder.load(pair[1], precision) for precision in ("fp32", "int8"))
    report = cross_parity(fp32, int8, WORDS, ["where is my parcel", "cancel the order please", ""])
    # Random weights of a few channels round worse than trained ones: this holds against a broken graph.
    assert report.relative_difference < 1


def test_it_is_loaded_by_its_kind(pair: tuple[OnePassModel, Path]) -> None:
    loaded = load_cross_encoder(pair[1], "int8")
    assert loaded.kind == "one-pass"
    assert loaded.score("lost card", ["refund", "card"]).shape == (2,)


@settings(max_examples=25, deadline=None)
@given(text=texts, labels=label_lists, others=label_lists)
def test_a_score_depends_on_its_own_label_alone(
    exported: OnePassCrossEncoder, text: str, labels: list[str], others: list[str]
) -> None:
    scores = exported.score(text, labels)
    assert np.allclose(exported.score(text, [*others, *labels])[len(others) :], scores, atol=TOLERANCE)
    assert np.allclose(exported.score(text, labels[::-1])[::-1], scores, atol=TOLERANCE)


@settings(max_examples=25, deadline=None)
@given(text=texts, count=st.integers(1, 64), words=st.integers(1, 12), data=st.data())
def test_any_number_of_candidates_in_any_order_scores_as_each_alone(
    exported: OnePassCrossEncoder, text: str, count: int, words: int, data: st.DataObject
) -> None:
    labels = [" ".join(WORDS[(i + j * (i // len(WORDS) + 1)) % len(WORDS)] for j in range(words))
              for i in range(count)]  # fmt: skip
    order = data.draw(st.permutations(range(count)))
    states = exported.read(text)
    alone = np.concatenate([exported.score_states(states, [label]) for label in labels])
    together = exported.score(text, [labels[i] for i in order])
    assert together.shape == (count,)
    assert np.allclose(together, alone[list(order)], atol=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(text=texts, labels=label_lists)
def test_int8_scores_differ_with_the_company_by_less_than_from_fp32(
    trained_pair: tuple[OnePassCrossEncoder, OnePassCrossEncoder], text: str, labels: list[str]
) -> None:
    fp32, int8 = trained_pair
    together = int8.score(text, labels)
    alone = np.concatenate([int8.score(text, [label]) for label in labels])
    scale = 20.0  # scores are scale × cosine
    assert np.abs(together - alone).max() / scale < 0.1
    assert np.abs(together - fp32.score(text, labels)).max() / scale < 0.2


def test_what_is_read_of_an_email_has_never_seen_a_candidate(
    trained_pair: tuple[OnePassCrossEncoder, OnePassCrossEncoder],
) -> None:
    for encoder in trained_pair:
        first = encoder.read("where is my parcel")
        encoder.score_states(first, WORDS)
        second = encoder.read("where is my parcel")
        assert first.inputs.keys() == second.inputs.keys()
        assert all(np.array_equal(first.inputs[name], second.inputs[name]) for name in first.inputs)


def test_threads_share_one_session(exported: OnePassCrossEncoder) -> None:
    emails = [f"{word} {other}" for word in WORDS for other in WORDS[:5]]
    expected = [exported.score(email, WORDS[:6]) for email in emails]
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda email: exported.score(email, WORDS[:6]), emails))
    assert all(np.array_equal(one, other) for one, other in zip(scores, expected, strict=True))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_with_the_gate_shut_the_ranking_is_the_bi_encoders(tmp_path: Path, pooling: str) -> None:
    encoder = make_encoder(tmp_path / "encoder")
    save_one_pass(
        from_encoder(encoder, pooling=pooling, initial_gate=float("-inf")), tmp_path / "weights", encoder
    )
    export_one_pass(tmp_path / "weights", tmp_path / "exported")
    exported = OnePassCrossEncoder.load(tmp_path / "exported", "fp32")
    labels = [f"{a} {b}" for a in WORDS[:8] for b in WORDS[8:12]]
    vectors = np.stack([exported.read(label).vector for label in labels])
    for text in ("where is my parcel", "", "please cancel the order and refund my card"):
        query = exported.read(text).vector
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        assert np.allclose(exported.score(text, labels), 20 * cosines, atol=TOLERANCE * 20)


def test_the_vector_is_the_base_encoders(tmp_path: Path) -> None:
    from transformers import AutoModel

    encoder = make_encoder(tmp_path / "encoder", "roberta")
    save_one_pass(from_encoder(encoder), tmp_path / "weights", encoder)
    export_one_pass(tmp_path / "weights", tmp_path / "exported")
    exported = OnePassCrossEncoder.load(tmp_path / "exported", "fp32")
    ids = torch.tensor(exported._emails.ids("where is my parcel"))[None]
    with torch.no_grad():
        states = AutoModel.from_pretrained(encoder).eval()(ids).last_hidden_state[0]
    assert np.allclose(exported.read("where is my parcel").vector, states.mean(dim=0), atol=TOLERANCE)


def test_more_tokens_than_fit_one_run_change_no_score(exported: OnePassCrossEncoder) -> None:
    long = " ".join(WORDS * 2)
    labels = [f"{WORDS[i % len(WORDS)]} {long}" for i in range(60)]
    assert sum(len(exported._ids_of_label(label)) for label in labels) > MAX_LABEL_TOKENS_A_RUN
    scores = exported.score("lost card", labels)
    singles = [exported.score("lost card", [label])[0] for label in labels[:: len(labels) // 6]]
    assert np.allclose(scores[:: len(labels) // 6], singles, atol=TOLERANCE)


def test_empty_email_and_empty_candidate_list(exported: OnePassCrossEncoder) -> None:
    assert np.isfinite(exported.score("", ["card arrival", "refund"])).all()
    assert exported.score("lost card", []).shape == (0,)


def test_a_text_beyond_the_limit_is_read_up_to_it(exported: OnePassCrossEncoder) -> None:
    long = "parcel " * 5000
    assert np.array_equal(exported.score(long, ["card"]), exported.score(long + "lost", ["card"]))
    label = "invoice " * 500
    assert np.array_equal(exported.score("lost", [label]), exported.score("lost", [label + "card"]))


def test_the_same_question_gets_the_same_answer(exported: OnePassCrossEncoder) -> None:
    first = exported.score("where is my parcel", WORDS)
    assert np.array_equal(first, exported.score("where is my parcel", WORDS))
    assert exported.kind == "one-pass"


def test_temperature_and_prompts_reach_serving(tmp_path: Path) -> None:
    make_trained(tmp_path, *VARIANTS["prompts"])
    export_one_pass(tmp_path / "weights", tmp_path / "exported")
    loaded = OnePassCrossEncoder.load(tmp_path / "exported", "fp32")
    assert (loaded.temperature, loaded.similarity_weight) == (1.5, 12.0)
    fields = json.loads((tmp_path / "exported" / "encoder.json").read_text())
    assert (fields["email_prompt"], fields["label_prompt"]) == ("help ", "the ")


def test_a_plain_encoder_is_refused_at_export(tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path / "encoder")
    with pytest.raises(ModelError, match="no one-pass cross-encoder"):
        export_one_pass(encoder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_non_finite_weights_are_refused_at_export(tmp_path: Path) -> None:
    model = make_trained(tmp_path, "bert", {})
    with torch.no_grad():
        model.word_embeddings.weight[5, 0] = float("inf")
    save_one_pass(model, tmp_path / "weights", tmp_path / "encoder")
    with pytest.raises(ModelError, match=r"word_embeddings.*non-finite"):
        export_one_pass(tmp_path / "weights", tmp_path / "exported")


@pytest.mark.parametrize(
    "damage", ["kind", "temperature", "weight", "unknown", "graph", "other-graph", "missing"]
)
def test_a_damaged_export_is_refused(tmp_path: Path, damage: str) -> None:
    make_trained(tmp_path, "bert", {})
    folder = tmp_path / "exported"
    export_one_pass(tmp_path / "weights", folder)
    fields = json.loads((folder / "encoder.json").read_text())
    if damage == "graph":
        (folder / "model.fp32.onnx").write_bytes(b"\x08")
    elif damage == "other-graph":
        _write_graph_of_inputs(folder / "model.fp32.onnx", ["x"])
    elif damage == "missing":
        (folder / "encoder.json").unlink()
    else:
        fields |= {
            "kind": {"kind": "pairwise"},
            "temperature": {"temperature": 0},
            "weight": {"similarity_weight": -1},
            "unknown": {"colour": 1},
        }[damage]
        (folder / "encoder.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError):
        OnePassCrossEncoder.load(folder, "fp32")


def test_a_graph_in_one_piece_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """As mailroom exported it before the email was read apart from the candidates."""
    make_trained(tmp_path, "bert", {})
    export_one_pass(tmp_path / "weights", tmp_path / "exported")
    _write_graph_of_inputs(
        tmp_path / "exported" / "model.fp32.onnx", ["email_ids", "label_ids", "label_lengths"]
    )
    with pytest.raises(ModelError, match=r"two halves.*export the cross-encoder again"):
        OnePassCrossEncoder.load(tmp_path / "exported", "fp32")


def _write_graph_of_inputs(path: Path, inputs: list[str]) -> None:
    import onnx
    from onnx import TensorProto, helper

    given = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in inputs]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1])
    node = helper.make_node("Cast", [inputs[0]], ["scores"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "other", given, [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.save(model, path)
