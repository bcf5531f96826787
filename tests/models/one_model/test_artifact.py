"""The artifact: what a trained model is kept as, and who can open it."""

from __future__ import annotations

import json
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from contracts.errors import ContractError
from contracts.spec_json import to_plain
from contracts.specs import TrainSpec
from contracts.train_config import TrainConfig
from models.artifact import encryption
from models.artifact.model import load_model, model_id, save_model
from models.train import champion_of


def test_the_artifact_holds_no_code_and_a_changed_one_has_another_id(trained, tmp_path) -> None:
    saved = Path(trained["folder"]) / "model"
    assert sorted(p.name for p in saved.iterdir()) == [
        "model.json",
        "model.safetensors",
        "trees.zip",
    ]
    assert model_id(saved) == trained["model_id"]
    for name in ("model.json", "model.safetensors", "trees.zip"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    about = json.loads((tmp_path / "model.json").read_text())
    about["encoder"]["inputs"]["numeric"][0][0] = "n_unicorns_7d"
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert model_id(tmp_path) != trained["model_id"]
    with pytest.raises(ContractError, match="with n_unicorns_7d"):
        load_model(tmp_path)
    del about["encoder"]["inputs"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(ContractError, match="by an earlier version; train it anew"):
        load_model(tmp_path)


def test_a_sealed_model_is_the_same_model_and_opens_for_nobody_else(trained, tmp_path) -> None:
    plain = load_model(Path(trained["folder"]) / "model")
    encryption.use(encryption.key_from("07" * 32))
    try:
        assert save_model(plain, tmp_path) == trained["model_id"]
        names = {p.name for p in tmp_path.iterdir()}
        assert names == {"model.json", "model.safetensors.sealed", "trees.zip.sealed"}
        again = load_model(tmp_path).network.state_dict()
    finally:
        encryption.use(None)
    for name, weights in plain.network.state_dict().items():
        assert torch.equal(weights, again[name])
    with pytest.raises(ContractError, match="is sealed: set weights_key_file"):
        load_model(tmp_path)


def test_a_model_of_another_version_is_refused_in_words(trained, tmp_path: Path) -> None:
    whole = Path(trained["folder"]) / "model"
    about = json.loads((whole / "model.json").read_text())
    weights, trees = ((whole / name).read_bytes() for name in ("model.safetensors", "trees.zip"))
    wider = load_model(whole).config.changed(width=24)
    for name, changed in (
        ("config", about | {"config": about["config"] | {"no_such_dial": 1}}),
        ("weights", about | {"config": to_plain(wider)}),
        ("splits", {key: value for key, value in about.items() if key != "splits"}),
        ("known_until", about | {"known_until": "a while ago"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(changed))
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "trees.zip").write_bytes(trees)
        with pytest.raises(ContractError, match="fitted by another version; train it anew"):
            load_model(folder)


def test_a_model_from_before_settings_had_groups_is_the_same_model(trained, tmp_path: Path) -> None:
    whole = Path(trained["folder"]) / "model"
    about = json.loads((whole / "model.json").read_text())
    for name in ("model.safetensors", "trees.zip"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    flat = load_model(whole).config.flat | {"tie": 0.0, "consistency": 0.0}
    (tmp_path / "model.json").write_text(json.dumps(about | {"config": flat}))
    assert load_model(tmp_path).config == load_model(whole).config


def test_a_folder_without_a_model_is_said_to_be(trained, tmp_path: Path) -> None:
    with pytest.raises(ContractError) as error:
        load_model(tmp_path)
    assert str(error.value) == f"{tmp_path} holds no model: No such file or directory"
    whole = Path(trained["folder"]) / "model"
    about = json.loads((whole / "model.json").read_text())
    del about["sha256"]  # as of a version that kept none
    (tmp_path / "model.json").write_text(json.dumps(about))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ContractError, match="holds no model: "):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "trees.zip"])
def test_a_file_that_changed_since_it_was_saved_is_refused_before_it_is_parsed(
    trained, tmp_path: Path, name: str
) -> None:
    whole = Path(trained["folder"]) / "model"
    for file in whole.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (whole / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    expected = sha256(content).hexdigest()[:16]
    found = sha256(content[: len(content) // 2]).hexdigest()[:16]
    with pytest.raises(ContractError) as error:
        load_model(tmp_path)
    assert str(error.value) == (
        f"{tmp_path / name} is not what was saved: expected SHA-256 {expected}…, found {found}…; "
        f"move {tmp_path} away, and the next run fetches it again"
    )
    # Nor does it make way, as a champion, for a challenger that nothing is compared with.
    nobody = TrainSpec((), (), date(2025, 1, 1), 2, (), TrainConfig(), "", champion=str(tmp_path))
    with pytest.raises(ContractError) as stopped:
        champion_of(nobody)
    assert str(stopped.value) == str(error.value)


def test_a_model_from_before_files_had_digests_is_the_same_model(trained, tmp_path: Path) -> None:
    whole = Path(trained["folder"]) / "model"
    about = json.loads((whole / "model.json").read_text())
    for name in ("model.safetensors", "trees.zip"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    del about["sha256"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert load_model(tmp_path).trees == load_model(whole).trees
