"""When one reading of an email may serve both encoders: found by what they compute."""

from pathlib import Path
from typing import Any

import pytest

from mailroom.models.export import export_bi_encoder, export_cross_encoder
from mailroom.models.export_one_pass import export_one_pass
from mailroom.models.shared_reading import shared_reading

torch = pytest.importorskip("torch")

from mailroom.train.one_pass_model import OnePassModel  # noqa: E402
from mailroom.train.one_pass_weights import from_encoder, save_one_pass  # noqa: E402
from tests.models.tiny import TEXTS, make_bi_encoder, make_cross_encoder  # noqa: E402

LABELS = ["delivery of a parcel", "password reset", "refund", "invoice"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    make_bi_encoder(directory, "bert", "mean")
    return directory / "model"


@pytest.fixture(scope="module")
def bi_encoder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exported") / "bi_encoder"
    export_bi_encoder(base, target)
    return target


def exported(model: OnePassModel, base: Path, directory: Path, dtype: Any = None) -> Path:
    save_one_pass(model, directory / "weights", base, dtype or torch.float32)
    export_one_pass(directory / "weights", directory / "exported")
    return directory / "exported"


def with_other_candidates(base: Path, **choices: Any) -> OnePassModel:
    """As training with a frozen email side leaves it: only the candidates' tower has moved."""
    model = from_encoder(base, separate_candidate_tower=True, **choices)
    with torch.no_grad():
        for parameter in model.candidate_layers.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_frozen_email_side_is_shared_in_both_precisions(
    base: Path, bi_encoder: Path, tmp_path: Path, dtype: Any
) -> None:
    cross = exported(with_other_candidates(base), base, tmp_path, dtype)
    assert shared_reading(bi_encoder, cross, LABELS, TEXTS) == {"fp32": True, "int8": True}


def test_a_trained_email_side_is_not_shared(base: Path, bi_encoder: Path, tmp_path: Path) -> None:
    model = from_encoder(base)
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    cross = exported(model, base, tmp_path)
    assert shared_reading(bi_encoder, cross, LABELS, TEXTS) == {"fp32": False, "int8": False}


@pytest.mark.parametrize(
    "choices", [{"max_email_tokens": 12}, {"email_prompt": "query: "}, {"pooling": "cls"}]
)
def test_another_length_prompt_or_pooling_is_not_shared(
    base: Path, bi_encoder: Path, tmp_path: Path, choices: dict[str, Any]
) -> None:
    cross = exported(with_other_candidates(base, **choices), base, tmp_path)
    assert shared_reading(bi_encoder, cross, LABELS, TEXTS)["fp32"] is False


def test_another_width_and_another_kind_are_not_shared(base: Path, bi_encoder: Path, tmp_path: Path) -> None:
    from tests.train.small_models import make_encoder

    narrow = make_encoder(tmp_path / "narrow")
    cross = exported(from_encoder(narrow), narrow, tmp_path)
    assert shared_reading(bi_encoder, cross, LABELS, TEXTS) == {"fp32": False, "int8": False}
    make_cross_encoder(tmp_path / "pairwise", "bert", ["LABEL_0"])
    export_cross_encoder(tmp_path / "pairwise", tmp_path / "pairwise-exported")
    assert not any(shared_reading(bi_encoder, tmp_path / "pairwise-exported", LABELS, TEXTS).values())
