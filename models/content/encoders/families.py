"""The members of BERT's family: what their settings and tensors are called, and how they differ.

The architecture is Devlin et al., "BERT" (2019), with the differences of its successors: RoBERTa
(Liu et al. 2019) counts positions from behind the padding's id, DistilBERT (Sanh et al. 2019) has
no token types, MPNet (Song et al. 2020) adds a bias by relative position to the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional

from contracts.errors import ContractError

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}


@dataclass(frozen=True)
class Family:
    """How a member of the family names its settings and tensors."""

    layer: str
    """What names of tensors begin with in layer `{}`."""
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    inner: str
    outer: str
    output_norm: str
    n_layers: str = "num_hidden_layers"
    n_heads: str = "num_attention_heads"
    activation: str = "hidden_act"
    layer_norm_eps: str | None = "layer_norm_eps"
    """None: the architecture has 1e-12, whatever stands in the file."""
    token_types: bool = True
    first_position: int | None = 0
    """Of a text's tokens; None: the one behind the padding's id."""
    relative_positions: bool = False


_BERT = Family(
    layer="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    output_norm="output.LayerNorm",
)
_ROBERTA = Family(**(vars(_BERT) | {"first_position": None}))
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Family(
        layer="transformer.layer.{}.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        inner="ffn.lin1",
        outer="ffn.lin2",
        output_norm="output_layer_norm",
        n_layers="n_layers",
        n_heads="n_heads",
        activation="activation",
        layer_norm_eps=None,
        token_types=False,
    ),
    "mpnet": Family(
        layer="encoder.layer.{}.",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_output="attention.attn.o",
        attention_norm="attention.LayerNorm",
        inner="intermediate.dense",
        outer="output.dense",
        output_norm="output.LayerNorm",
        token_types=False,
        first_position=2,  # whatever the padding's id
        relative_positions=True,
    ),
}
"""`model_type` in config.json to what its files look like."""


@dataclass(frozen=True)
class Architecture:
    """What decides the computation beside the tensors."""

    model_type: str
    n_layers: int
    n_heads: int
    activation: str
    layer_norm_eps: float
    first_position: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Architecture:
        """That of a config.json.

        Raises:
            ContractError: it is none that is known here.
        """
        model_type = config.get("model_type")
        family = FAMILIES.get(str(model_type))
        if family is None:
            raise ContractError(
                f"config.json: model_type {model_type!r} is not supported with model.safetensors; "
                f"known are {', '.join(FAMILIES)}. Export any other model to model.onnx"
            )
        if config.get("auto_map"):
            raise ContractError(
                "config.json names code of the model's own (auto_map), which is never run; export "
                "the model to model.onnx"
            )
        positions = config.get("position_embedding_type", "absolute")
        if positions != "absolute":
            raise ContractError(
                f"config.json: position_embedding_type {positions!r} is not supported, only "
                "'absolute' is; export the model to model.onnx"
            )
        eps = 1e-12 if family.layer_norm_eps is None else _get(config, family.layer_norm_eps)
        activation = str(_get(config, family.activation))
        if activation not in ACTIVATIONS:
            raise ContractError(
                f"config.json: {family.activation} {activation!r} is not supported; known are "
                f"{', '.join(ACTIVATIONS)}. Export the model to model.onnx"
            )
        return cls(
            model_type=str(model_type),
            n_layers=int(_get(config, family.n_layers)),
            n_heads=int(_get(config, family.n_heads)),
            activation=activation,
            layer_norm_eps=float(eps),
            first_position=int(config.get("pad_token_id", 1)) + 1
            if family.first_position is None
            else family.first_position,
        )


def _get(config: Mapping[str, Any], name: str) -> Any:
    if name not in config:
        raise ContractError(f"config.json: expected {name}, found no such setting")
    return config[name]
