"""Small random models in the layouts that published models have, made on the spot."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

logging.getLogger("transformers").setLevel(logging.ERROR)
logging.getLogger("sentence_transformers").setLevel(logging.ERROR)

MAX_TOKENS = 32
TEXTS = [
    "Where is my parcel?",
    "",
    "Grüße aus Köln, 今日は, naïve café",
    "The invoice of last month was paid twice, please send the money back. " * 12,
    "one\n\n\ttwo   three",
]
_CORPUS = [
    *TEXTS,
    "query: passage: Represent this sentence for searching relevant passages:",
    "delivery of a parcel",
    "password reset",
    "This message is about refunds.",
]
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def make_tokenizer(family: str) -> Any:
    """A tokenizer of the family, trained on a few lines."""
    if family in ("bert", "mpnet"):
        return _wordpiece(family)
    if family == "xlm-roberta":
        return _unigram()
    return _byte_bpe(family)


def _wordpiece(family: str) -> Any:
    names = {"bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]}.get(
        family, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    )
    first, last = ("[CLS]", "[SEP]") if family == "bert" else ("<s>", "</s>")
    pad, unknown = ("[PAD]", "[UNK]") if family == "bert" else ("<pad>", "[UNK]")
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(_CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=names))
    ids = {name: names.index(name) for name in names}
    if family == "bert":
        tokenizer.post_processor = processors.BertProcessing((last, ids[last]), (first, ids[first]))
    else:
        tokenizer.post_processor = processors.RobertaProcessing((last, ids[last]), (first, ids[first]))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        mask_token=names[-1],
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"] + (["token_type_ids"] if family == "bert" else []),
    )


def _unigram() -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _roberta_like(tokenizer)


def _byte_bpe(family: str) -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _roberta_like(tokenizer)


def _roberta_like(tokenizer: Tokenizer) -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


def _config(family: str, tokenizer: Any, **extra: Any) -> Any:
    sizes: dict[str, Any] = {**_SIZES, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    classes = {
        "bert": transformers.BertConfig,
        "mpnet": transformers.MPNetConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
        "modernbert": transformers.ModernBertConfig,
        "qwen3": transformers.Qwen3Config,
    }
    if family in ("roberta", "xlm-roberta"):
        sizes["type_vocab_size"] = 1
    if family == "qwen3":
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    if family == "modernbert":
        # A window narrower than the texts: a graph that forgets it gives other vectors.
        sizes |= {"local_attention": 8, "cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0}
        sizes |= {"eos_token_id": 2, "num_hidden_layers": 3}
    return classes[family](**sizes, **extra)


def _spread(model: torch.nn.Module) -> torch.nn.Module:
    """Weights so large that an attention or position that is read wrongly shows in the output."""
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=1.0 if "embed" in name else 0.3)
    return model.eval()


def make_transformer(directory: Path, family: str) -> Path:
    """A plain transformers directory: weights, configuration and tokenizer, no modules.json."""
    tokenizer = make_tokenizer(family)
    model: Any = _spread(transformers.AutoModel.from_config(_config(family, tokenizer)))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def make_bi_encoder(
    directory: Path,
    family: str,
    pooling: str,
    *,
    normalize: bool = True,
    dense: bool = False,
    include_prompt: bool = True,
    prompts: dict[str, str] | None = None,
    default_prompt: str | None = None,
) -> SentenceTransformer:
    """Save a bi-encoder in sentence-transformers' layout and give it back as loaded from there."""
    plain = make_transformer(directory / "plain", family)
    modules: list[Any] = [
        Transformer(str(plain)),
        Pooling(_SIZES["hidden_size"], pooling, include_prompt=include_prompt),
    ]
    if dense:
        modules.append(Dense(_SIZES["hidden_size"], 16))
    if normalize:
        modules.append(Normalize())
    model = SentenceTransformer(
        modules=modules, prompts=prompts, default_prompt_name=default_prompt, device="cpu"
    )
    model.save(str(directory / "model"), create_model_card=False)
    return SentenceTransformer(str(directory / "model"), device="cpu")


def make_cross_encoder(directory: Path, family: str, labels: list[str]) -> CrossEncoder:
    """Save a sequence classifier with the named logits; sentence-transformers reads it as a cross-encoder."""
    tokenizer = make_tokenizer(family)
    config = _config(family, tokenizer, id2label=dict(enumerate(labels)))
    model: Any = _spread(transformers.AutoModelForSequenceClassification.from_config(config))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return CrossEncoder(str(directory), device="cpu")


def edit_json(path: Path, **values: Any) -> None:
    """Change some values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
