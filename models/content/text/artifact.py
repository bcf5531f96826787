"""A text model on disk: arrays as safetensors, the rest as JSON. Loading executes no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from contracts.errors import ContractError, NightjarError
from models.artifact import encryption
from models.artifact.model import DamagedArtifact
from models.content.encoders.text_encoder import TextEncoder
from models.content.text import model as members
from models.content.text.calibration import Calibration
from models.content.text.cnn import CnnMember
from models.content.text.convolutions import Shape
from models.content.text.encoded import EncoderMember
from models.content.text.examples import Head
from models.content.text.linear import LinearMember
from models.content.text.model import Member, TextModel
from models.content.text.ngrams import NGrams

_ABOUT, _END = "text_model.json", ".safetensors"
_VERSION = 2
Arrays = Mapping[str, NDArray[Any]]


def save_text_model(model: TextModel, folder: Path) -> str:
    """Write a model; last, the file by which it is found. Returns its `model_id`."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = _contents(model)
    for name, content in contents.items():
        encryption.write(folder / f"{name}{_END}", content)
    (folder / _ABOUT).write_text(json.dumps(_about(model, contents), indent=1, sort_keys=True))
    return text_model_id(model)


def text_model_id(model: TextModel) -> str:
    """Hash of all that decides its probabilities: 16 hex digits."""
    about = _about(model, _contents(model))
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def load_text_model(folder: Path, encoder: TextEncoder | None = None) -> TextModel:
    """The model that was saved in `folder`; an encoder that it was fitted on is given, for its
    weights are not saved again.

    Raises:
        DamagedArtifact: what is there is not what was saved.
        ContractError: there is none, it is of another version, or of another encoder.
    """
    path = folder / _ABOUT
    if not path.exists():
        raise ContractError(f"{folder}: no text model is there: {_ABOUT} is missing")
    try:
        about = json.loads(path.read_text())
        if about["version"] != _VERSION:
            raise ContractError(f"{folder}: the text model is of another version; fit it anew")
        heads = tuple(Head(h["name"], tuple(h["classes"])) for h in about["heads"])
        members = {}
        for name, saved in about["members"].items():
            content = encryption.read(folder / f"{name}{_END}")
            if hashlib.sha256(content).hexdigest() != saved["sha256"]:
                raise _damaged(folder)
            members[name] = _member(name, heads, load(content), saved["settings"], encoder)
        return TextModel(
            heads,
            members,
            {name: _calibrations(of_member) for name, of_member in about["own"].items()},
            _calibrations(about["calibrations"]),
        )
    except NightjarError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError):
        raise _damaged(folder) from None


def _damaged(folder: Path) -> DamagedArtifact:
    return DamagedArtifact(f"{folder}: the text model is not what was saved; fit it anew")


def _contents(model: TextModel) -> dict[str, bytes]:
    return {name: save(dict(_arrays(member))) for name, member in model.members.items()}


def _about(model: TextModel, contents: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "heads": [asdict(head) for head in model.heads],
        "members": {
            name: {
                "sha256": hashlib.sha256(contents[name]).hexdigest(),
                "settings": _settings(member),
            }
            for name, member in model.members.items()
        },
        "own": {
            name: {head: asdict(c) for head, c in own.items()}
            for name, own in model.member_calibrations.items()
        },
        "calibrations": {head: asdict(c) for head, c in model.calibrations.items()},
    }


def _calibrations(saved: Mapping[str, Any]) -> dict[str, Calibration]:
    return {h: Calibration(float(c["scale"]), tuple(c["offsets"])) for h, c in saved.items()}


def _arrays(member: Member) -> Arrays:
    names: tuple[str, ...]
    match member:
        case CnnMember():
            return member.arrays
        case EncoderMember():
            names = ("mean", "scale", "weights", "bias")
        case _:
            names = ("buckets", "rarity", "weights", "bias")
    return {name: np.ascontiguousarray(getattr(member, name)) for name in names}


def _settings(member: Member) -> dict[str, Any]:
    match member:
        case CnnMember():
            return asdict(member.shape)
        case EncoderMember():
            return {"encoder_id": member.encoder.encoder_id}
        case LinearMember():
            return asdict(member.ngrams)
    raise ContractError(f"{type(member).__name__}: no member that can be saved")


def _member(
    name: str,
    heads: tuple[Head, ...],
    arrays: Arrays,
    settings: Mapping[str, Any],
    encoder: TextEncoder | None,
) -> Member:
    match name:
        case members.CNN:
            shape = Shape(**{**settings, "widths": tuple(settings["widths"])})
            return CnnMember(shape, heads, arrays)
        case members.ENCODER:
            given = None if encoder is None else encoder.encoder_id
            if encoder is None or given != settings["encoder_id"]:
                raise ContractError(
                    f"the text model was fitted on the encoder {settings['encoder_id']}, given is "
                    f"{given or 'none'}; give that encoder or fit the model anew"
                )
            return EncoderMember(encoder, heads, **arrays)
    return LinearMember(NGrams(**settings), heads, **arrays)
