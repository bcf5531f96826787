"""Folders with tiny encoders of random weights, in the formats of large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "good", "bad", "news", "of", "the", "day")
D, INNER, POSITIONS, TYPES = 8, 16, 40, 2
_BERT_LAYER = {
    "attention.self.query": (D, D),
    "attention.self.key": (D, D),
    "attention.self.value": (D, D),
    "attention.output.dense": (D, D),
    "attention.output.LayerNorm": (D,),
    "intermediate.dense": (INNER, D),
    "output.dense": (D, INNER),
    "output.LayerNorm": (D,),
}
LAYERS = {
    "bert": ("encoder.layer", _BERT_LAYER),
    "roberta": ("encoder.layer", _BERT_LAYER),
    "xlm-roberta": ("encoder.layer", _BERT_LAYER),
    "distilbert": (
        "transformer.layer",
        {
            "attention.q_lin": (D, D),
            "attention.k_lin": (D, D),
            "attention.v_lin": (D, D),
            "attention.out_lin": (D, D),
            "sa_layer_norm": (D,),
            "ffn.lin1": (INNER, D),
            "ffn.lin2": (D, INNER),
            "output_layer_norm": (D,),
        },
    ),
    "mpnet": (
        "encoder.layer",
        {
            "attention.attn.q": (D, D),
            "attention.attn.k": (D, D),
            "attention.attn.v": (D, D),
            "attention.attn.o": (D, D),
            "attention.LayerNorm": (D,),
            "intermediate.dense": (INNER, D),
            "output.dense": (D, INNER),
            "output.LayerNorm": (D,),
        },
    ),
}
CONFIG = {
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": TYPES,
    "vocab_size": len(WORDS),
    "pad_token_id": 0,
}
DISTILBERT_CONFIG = {
    "dim": D,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": INNER,
    "activation": "gelu",
    "max_position_embeddings": POSITIONS,
    "vocab_size": len(WORDS),
    "pad_token_id": 0,
}


def config_of(model_type: str) -> dict[str, Any]:
    """A config.json."""
    settings = DISTILBERT_CONFIG if model_type == "distilbert" else CONFIG
    if model_type == "mpnet":
        settings = {**settings, "relative_attention_num_buckets": 32, "pad_token_id": 1}
    return {"model_type": model_type, **settings}


def tensors_of(model_type: str) -> dict[str, np.ndarray]:
    """Tensors by name, with seeded random numbers."""
    start, parts = LAYERS[model_type]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), D),
        "embeddings.position_embeddings.weight": (POSITIONS, D),
        **_pair("embeddings.LayerNorm", (D,)),
    }
    if model_type in ("bert", "roberta", "xlm-roberta"):
        shapes["embeddings.token_type_embeddings.weight"] = (TYPES, D)
    if model_type == "mpnet":
        shapes["encoder.relative_attention_bias.weight"] = (32, 2)
    for layer in range(2):
        for name, shape in parts.items():
            shapes |= _pair(f"{start}.{layer}.{name}", shape)
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=shape, scale=0.5).astype(np.float32)
        for name, shape in sorted(shapes.items())
    }


def _pair(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json: words between white space, with [CLS] before and [SEP] behind."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    # As models leave it: cut and padded to a length that is not the encoder's.
    tokenizer.enable_truncation(6)
    tokenizer.enable_padding(length=6)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_encoder(
    folder: Path,
    model_type: str = "bert",
    *,
    pooling: str = "mean",
    normalize: bool = False,
    prefix: str = "",
    **config: Any,
) -> Path:
    """A folder with model.safetensors, as sentence-transformers lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**config_of(model_type), **config})
    tensors = {prefix + name: tensor for name, tensor in tensors_of(model_type).items()}
    if prefix:  # a model with a task of its own
        tensors["classifier.weight"] = np.zeros((2, D), np.float32)
        tensors[f"{prefix}embeddings.position_ids"] = np.arange(POSITIONS)[None]
    save_file(tensors, folder / "model.safetensors")
    write_tokenizer(folder)
    modes = {
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": pooling == "max",
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": D, **modes})
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    write_json(
        folder / "modules.json", [{"type": f"sentence_transformers.models.{k}"} for k in kinds]
    )
    return folder


def write_onnx(folder: Path, *, external: bool = False) -> Path:
    """A folder with model.onnx, a graph that looks tokens up in a table: `table()`."""
    folder.mkdir(parents=True, exist_ok=True)
    values = table().tobytes()
    tensor = _field(1, len(WORDS)) + _field(1, D) + _field(2, 1) + _field(8, "table")
    if external:
        (folder / "table.bin").write_bytes(values)
        tensor += _field(13, _field(1, "location") + _field(2, "table.bin")) + _field(14, 1)
    else:
        tensor += _field(9, values)
    node = b"".join(
        (
            _field(1, "table"),
            _field(1, "input_ids"),
            _field(2, "last_hidden_state"),
            _field(4, "Gather"),
        )
    )
    graph = _field(1, node) + _field(2, "tiny") + _field(5, tensor)
    graph += _field(11, _value_info("input_ids", 7, ("batch", "length")))
    graph += _field(12, _value_info("last_hidden_state", 1, ("batch", "length", D)))
    model = _field(1, 8) + _field(8, _field(1, "") + _field(2, 13)) + _field(7, graph)
    (folder / "model.onnx").write_bytes(model)
    write_tokenizer(folder)
    write_json(folder / "pooling.json", {"pooling": "mean", "normalize": False, "max_length": 20})
    return folder


def write_image_onnx(folder: Path, size: int = 8) -> Path:
    """A folder with model.onnx, a graph that gives the mean of each channel of a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    node = _field(1, "pixels") + _field(2, "means") + _field(4, "GlobalAveragePool")
    graph = _field(1, node) + _field(2, "tiny")
    graph += _field(11, _value_info("pixels", 1, ("batch", 3, size, size)))
    graph += _field(12, _value_info("means", 1, ("batch", 3, 1, 1)))
    model = _field(1, 8) + _field(8, _field(1, "") + _field(2, 13)) + _field(7, graph)
    (folder / "model.onnx").write_bytes(model)
    write_json(folder / "config.json", {"model_type": "onnx"})
    channels = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    write_json(folder / "preprocess.json", {"size": size, **channels})
    return folder


def table() -> np.ndarray:
    """(words, d): the vector of each token in the graph of `write_onnx`."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(len(WORDS), D)).astype(np.float32)


def _value_info(name: str, type_: int, shape: tuple[str | int, ...]) -> bytes:
    dimensions = b"".join(
        _field(1, _field(2, each) if isinstance(each, str) else _field(1, each)) for each in shape
    )
    tensor = _field(1, type_) + _field(2, dimensions)
    return _field(1, name) + _field(2, _field(1, tensor))


def _field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer: ONNX files are such, and writing them asks for no library."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
