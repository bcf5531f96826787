"""A folder with a text encoder, as sentence-transformers and exports to ONNX lay it out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ContractError
from models.content.encoders.families import FAMILIES

POOLINGS = ("mean", "cls", "max")
"""How the numbers of a text's tokens become those of the text: their mean, those of the first
token, or the largest of each."""
_POOLING_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
"""What sentence-transformers calls them."""
_MODULES = ("Transformer", "Pooling", "Normalize")
_EXTERNAL = re.compile(rb"\x0a\x08location\x12(?=([\x01-\x7f])([\x00-\xff]{1,127}))")
"""A tensor of an ONNX file that lies in another file: the field's name, its length, its value."""


@dataclass(frozen=True)
class EncoderFolder:
    """What a folder says of its encoder."""

    weights: Path
    """model.safetensors or model.onnx."""
    files: Mapping[str, Path]
    """What decides the vectors byte for byte: weights and tokenizer, by what they are."""
    config: Mapping[str, Any]
    """config.json; empty beside model.onnx where there is none."""
    pooling: str
    """One of `POOLINGS`."""
    normalize: bool
    """Whether vectors are divided by their length."""
    max_length: int | None
    """Tokens of a text at most, those at its ends included; None: it does not say."""
    lower_case: bool
    """Whether texts are set in lower case before the tokenizer sees them."""
    prompt: str
    """What is put before each text."""

    @classmethod
    def read(cls, folder: Path) -> EncoderFolder:
        """Read the files that say what the others are.

        Raises:
            ContractError: something is missing, or is not supported.
        """
        if not folder.is_dir():
            raise ContractError(f"{folder} is no folder: name one that holds an encoder's files")
        config = json_object(folder / "config.json")
        weights = _weights(folder, config)
        tokenizer = folder / "tokenizer.json"
        if not tokenizer.is_file():
            raise ContractError(
                f"{folder}: expected tokenizer.json, found none; the tokenizer of the model saves "
                "it (save_pretrained of a fast tokenizer)"
            )
        own, sentences = (
            json_object(folder / "pooling.json"),
            json_object(folder / "sentence_bert_config.json"),
        )
        modules = _modules(folder)
        prompts = json_object(folder / "config_sentence_transformers.json")
        prompt = prompts.get("prompts", {}).get(prompts.get("default_prompt_name")) or ""
        return cls(
            weights=weights,
            files={"tokenizer": tokenizer, "weights": weights, **_external_files(weights)},
            config=config,
            pooling=_pooling(folder, own),
            normalize=bool(own.get("normalize", "Normalize" in modules)),
            max_length=_max_length(folder, own, sentences),
            lower_case=bool(own.get("lower_case", sentences.get("do_lower_case", False))),
            prompt=str(own.get("prompt", prompt)),
        )


def json_object(path: Path) -> dict[str, Any]:
    """An object; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ContractError(f"{path}: expected an object, found {type(value).__name__}")
    return value


def _weights(folder: Path, config: Mapping[str, Any]) -> Path:
    """model.safetensors where its architecture is known here, else model.onnx, else the former
    again, so that the reader of its config.json says what is wrong with it."""
    tensors = folder / "model.safetensors"
    graphs = [folder / "model.onnx", folder / "onnx" / "model.onnx"]
    known = config.get("model_type") in FAMILIES and not config.get("auto_map")
    for path in [tensors, *graphs] if known else [*graphs, tensors]:
        if path.is_file():
            if path == tensors and not config:
                raise ContractError(f"{folder}: expected config.json beside model.safetensors")
            return path
    if (folder / "pytorch_model.bin").is_file():
        raise ContractError(
            f"{folder}: pickled weights are not opened, for opening them runs code; convert them "
            "to model.safetensors (save_pretrained with safe_serialization=True) or model.onnx"
        )
    raise ContractError(f"{folder}: expected model.safetensors or model.onnx, found neither")


def _external_files(weights: Path) -> dict[str, Path]:
    """Files beside an ONNX file that hold its larger tensors."""
    if weights.suffix != ".onnx":
        return {}
    names = {
        value[: length[0]].decode("utf-8", "replace")
        for length, value in _EXTERNAL.findall(weights.read_bytes())
    }
    for name in sorted(names):
        if Path(name).name != name or not (weights.parent / name).is_file():
            raise ContractError(
                f"{weights}: expected its tensors in {name!r} beside it, found no such file"
            )
    return {f"weights {name}": weights.parent / name for name in sorted(names)}


def _modules(folder: Path) -> set[str]:
    """The kinds of modules that sentence-transformers would apply; none where it does not say."""
    path = folder / "modules.json"
    if not path.is_file():
        return set()
    kinds = {str(module["type"]).rpartition(".")[2] for module in json.loads(path.read_text())}
    if unknown := sorted(kinds - set(_MODULES)):
        raise ContractError(
            f"{path}: modules {', '.join(unknown)} are not supported; known are "
            f"{', '.join(_MODULES)}. Export the model as a whole to model.onnx"
        )
    return kinds


def _pooling(folder: Path, own: Mapping[str, Any]) -> str:
    """One of `POOLINGS`."""
    if "pooling" in own:
        modes = [str(own["pooling"])]
    else:
        theirs = json_object(folder / "1_Pooling" / "config.json")
        if not theirs:
            raise ContractError(
                f"{folder}: expected pooling.json or 1_Pooling/config.json, found neither; write "
                f'pooling.json, such as {{"pooling": "mean", "normalize": true}}. Known are '
                f"{', '.join(POOLINGS)}"
            )
        modes = [
            _POOLING_MODES.get(name, name)
            for name, is_on in theirs.items()
            if name.startswith("pooling_mode") and is_on is True
        ]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ContractError(
            f"{folder}: expected one pooling of {', '.join(POOLINGS)}, found "
            f"{' and '.join(modes) or 'none'}; export the model as a whole to model.onnx"
        )
    return modes[0]


def _max_length(folder: Path, own: Mapping[str, Any], sentences: Mapping[str, Any]) -> int | None:
    """As pooling.json says, else sentence_bert_config.json, else tokenizer_config.json."""
    tokenizer = json_object(folder / "tokenizer_config.json")
    for length in (
        own.get("max_length"),
        sentences.get("max_seq_length"),
        tokenizer.get("model_max_length"),
    ):
        if length is not None:
            if length < 3:
                raise ContractError(f"{folder}: expected at least 3 tokens a text, found {length}")
            return int(length)
    return None
