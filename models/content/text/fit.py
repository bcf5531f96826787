"""Fitting the text model: its members on train texts, its calibration on validation texts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from contracts.errors import ContractError
from models.content.encoders.text_encoder import TextEncoder
from models.content.text.calibration import fit_calibration
from models.content.text.cnn import CnnConfig, fit_cnn
from models.content.text.encoded import fit_encoder_member
from models.content.text.examples import Examples, Head
from models.content.text.linear import fit_linear
from models.content.text.model import (
    CNN,
    ENCODER,
    LINEAR,
    Member,
    TextModel,
    mean_log_probabilities,
)
from models.content.text.ngrams import NGrams

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextConfig:
    """How a text model is fitted."""

    ngrams: NGrams = field(default_factory=NGrams)
    """N-grams of the linear member."""
    cnn: CnnConfig = field(default_factory=CnnConfig)
    """The convolutional member."""
    encoder: TextEncoder | None = None
    """What makes the vectors of a third member; None: there are two."""


def fit_text_model(
    heads: tuple[Head, ...], train: Examples, validation: Examples, config: TextConfig
) -> TextModel:
    """A model of all heads; labels that are missing teach nothing.

    Raises:
        ContractError: a head has fewer than two classes among its labels, or a label is no class.
    """
    for head in heads:
        known = np.unique(train.of(head)[train.labelled(head)])
        if len(known) < 2:
            raise ContractError(
                f"head {head.name}: labels of {len(known)} classes; it needs two to learn from"
            )
        validation.of(head)
    members: dict[str, Member] = {
        LINEAR: fit_linear(heads, train, config.ngrams),
        CNN: fit_cnn(heads, train, config.cnn),
    }
    if config.encoder is not None:
        members[ENCODER] = fit_encoder_member(heads, train, config.encoder)
    return _calibrated(heads, members, validation)


def _calibrated(
    heads: tuple[Head, ...], members: dict[str, Member], validation: Examples
) -> TextModel:
    """Of each head, only texts that have its label are looked at."""
    outputs = {name: member.logits(validation.texts) for name, member in members.items()}
    own = {
        name: {h.name: fit_calibration(outputs[name][h.name], validation.of(h)) for h in heads}
        for name in members
    }
    calibrations = {}
    for head in heads:
        mean = mean_log_probabilities(
            [own[name][head.name].log_probabilities(outputs[name][head.name]) for name in members]
        )
        calibrations[head.name] = fit_calibration(mean, validation.of(head))
    return TextModel(heads, members, own, calibrations)
