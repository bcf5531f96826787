"""Rankers on disk: trees as LightGBM's text, a network as safetensors, the rest as JSON. Loading
executes no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.errors import ContractError, NightjarError
from models.artifact import encryption
from models.artifact.model import DamagedArtifact
from models.ranking.calibration import Calibration
from models.ranking.lambdarank import Trees
from models.ranking.network import ItemNetwork
from models.ranking.surface_ranker import SOURCE, Scaling, SurfaceRanker

_ABOUT, _TREES, _NETWORK = "ranker.json", "trees.txt", "network.safetensors"
_VERSION = 2


def save_rankers(rankers: Mapping[str, SurfaceRanker], folder: Path) -> None:
    """Write the ranker of each surface; last, the file by which they are found."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {}
    for surface, ranker in rankers.items():
        digests = {}
        for name, content in _contents(ranker).items():
            encryption.write(folder / f"{surface}-{name}", content)
            digests[name] = hashlib.sha256(content).hexdigest()
        about[surface] = {**_described(ranker), "sha256": digests}
    saved = {"version": _VERSION, "surfaces": about, "sha256": _digest(about)}
    (folder / _ABOUT).write_text(json.dumps(saved, indent=1, sort_keys=True))


def load_rankers(folder: Path) -> dict[str, SurfaceRanker]:
    """The ranker of each surface.

    Raises:
        DamagedArtifact: what is there is not what was saved.
        ContractError: there is none, or it is of another version.
    """
    path = folder / _ABOUT
    if not path.exists():
        raise ContractError(f"{folder}: no ranker is there: {_ABOUT} is missing")
    try:
        saved = json.loads(path.read_text())
        if saved["version"] != _VERSION:
            raise ContractError(f"{folder}: the ranker was fitted by another version; fit it anew")
        if saved["sha256"] != _digest(saved["surfaces"]):
            raise _damaged(path)
        return {name: _loaded(folder, name, about) for name, about in saved["surfaces"].items()}
    except NightjarError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None


def ranker_id(ranker: SurfaceRanker) -> str:
    """Hash of all that decides its order: 16 hex digits; where nothing was learnt, the list that
    gives it, such as `source:popular_10d`."""
    if not ranker.is_learnt:
        return f"{SOURCE}:{ranker.best_list}"
    digest = hashlib.sha256(json.dumps(_described(ranker), sort_keys=True).encode())
    for name, content in sorted(_contents(ranker).items()):
        digest.update(name.encode() + b"\n" + content)
    return digest.hexdigest()[:16]


def _contents(ranker: SurfaceRanker) -> dict[str, bytes]:
    """What stands in files of its own."""
    contents = {}
    if ranker.trees is not None:
        contents[_TREES] = ranker.trees.text.encode()
    if ranker.network is not None:
        contents[_NETWORK] = ranker.network.to_bytes()
    for event, trees in ranker.event_trees.items():
        contents[f"{event}-{_TREES}"] = trees.text.encode()
    return contents


def _described(ranker: SurfaceRanker) -> dict[str, Any]:
    return {
        "names": list(ranker.names),
        "order_by": ranker.order_by,
        "best_list": ranker.best_list,
        "events": list(ranker.events),
        "scaling": _plain(ranker.scaling),
        "user_scaling": _plain(ranker.user_scaling),
        "calibrations": {name: c.to_json() for name, c in ranker.calibrations.items()},
    }


def _loaded(folder: Path, surface: str, about: Mapping[str, Any]) -> SurfaceRanker:
    contents = {}
    for name, sha256 in about["sha256"].items():
        path = folder / f"{surface}-{name}"
        try:
            contents[name] = encryption.read(path)
        except FileNotFoundError:
            raise _damaged(path) from None
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise _damaged(path)
    trees, network = contents.get(_TREES), contents.get(_NETWORK)
    names, events = tuple(about["names"]), tuple(about["events"])
    return SurfaceRanker(
        names,
        str(about["order_by"]),
        str(about["best_list"]),
        events,
        None if trees is None else Trees(trees.decode()),
        None if network is None else ItemNetwork.of_bytes(network, names, len(events)),
        {
            event: Trees(contents[name].decode())
            for event in events
            if (name := f"{event}-{_TREES}") in contents
        },
        _scaling(about["scaling"]),
        _scaling(about["user_scaling"]),
        {name: Calibration.from_json(c) for name, c in about["calibrations"].items()},
    )


def _plain(scaling: Scaling) -> dict[str, list[float]]:
    return {name: list(values) for name, values in asdict(scaling).items()}


def _scaling(saved: Mapping[str, Any]) -> Scaling:
    return Scaling(tuple(saved["means"]), tuple(saved["deviations"]))


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> DamagedArtifact:
    return DamagedArtifact(f"{path}: the ranker is damaged: it is not what was saved; fit it anew")
