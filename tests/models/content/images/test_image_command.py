"""The command that learns from a folder of pictures and writes the class of all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import ContractError
from models.content.__main__ import main
from models.content.images.image_model import load_image_model
from tests.models.content.encoders.tiny_encoders import write_image_onnx
from tests.models.content.images.labelled_folders import drawn, write_labelled, write_pictures

FEW = ("--pictures-seen", "960")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a test part of 65 pictures in classes, and one of two pictures in none."""
    folder = write_labelled(tmp_path_factory.mktemp("clothing"))
    write_pictures(folder / "test", 65)
    (folder / "new").mkdir()
    (folder / "new" / "a.jpg").write_bytes(drawn("dress", 901))
    (folder / "new" / "b.jpg").write_bytes(drawn("shoes", 902))
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written for `folder`."""
    out = tmp_path_factory.mktemp("out")
    assert main(["images", str(folder), "--out", str(out), *FEW]) == 0
    return out


def lines(out: Path, part: str) -> list[list[str]]:
    """Cells of each line that is written for a part."""
    text = (out / f"{part}_predictions.tsv").read_text()
    return [line.split("\t") for line in text.splitlines()]


def test_every_picture_that_is_not_learnt_from_gets_a_class(folder: Path, out: Path) -> None:
    assert [(file, name, status) for file, name, _, status in lines(out, "new")] == [
        ("a.jpg", "dress", "ok"),
        ("b.jpg", "shoes", "ok"),
    ]
    for part, n in (("validation", 6), ("test", 65)):
        found = lines(out, part)
        files = [path.relative_to(folder / part) for path in (folder / part).rglob("*.jpg")]
        assert [file for file, *_ in found] == sorted(map(str, files))
        assert len(found) == n
        assert all(file.startswith(f"{name}/") for file, name, *_ in found)
        assert all(0.5 <= float(probability) <= 1 for _, _, probability, _ in found)
    assert not (out / "train_predictions.tsv").exists()


def test_progress_is_shown(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["images", str(folder), "--out", str(tmp_path), "--model", str(out / "model")]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "test: 65 of 65 pictures are read\n" in said
    assert "test: 65 pictures have a class\n" in said


def test_a_saved_model_says_the_same_and_is_named_by_its_content(
    folder: Path, out: Path, tmp_path: Path
) -> None:
    call = ["images", str(folder), "--out", str(tmp_path), "--model", str(out / "model")]
    assert main(call) == 0
    for part in ("validation", "test", "new"):
        assert lines(tmp_path, part) == lines(out, part)
    assert sorted(path.name for path in (out / "model").iterdir()) == [
        "model.json",
        "model.safetensors",
    ]


def test_the_same_pictures_give_the_same_model_and_another_seed_another(
    folder: Path, tmp_path: Path
) -> None:
    ids = []
    for seed in ("0", "0", "1"):
        out = tmp_path / str(len(ids))
        call = ["images", str(folder), "--out", str(out), "--pictures-seen", "64", "--seed", seed]
        assert main(call) == 0
        ids.append(load_image_model(out / "model").model_id)
    assert ids[0] == ids[1] != ids[2]


def test_one_broken_picture_has_a_reason_and_all_others_have_a_class(
    folder: Path, out: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    write_pictures(pictures / "test", 60)
    broken = pictures / "test" / "dress" / "010.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    call = ["images", str(pictures), "--out", str(tmp_path), "--model", str(out / "model")]

    assert main(call) == 0
    found = {file: cells for file, *cells in lines(tmp_path, "test")}
    assert found.pop("dress/010.jpg") == [
        "",
        "",
        "truncated: the JPEG file ends before its picture does",
    ]
    assert len(found) == 59
    assert all(status == "ok" for _, _, status in found.values())


def test_too_many_broken_pictures_end_it_in_a_sentence_unless_more_are_allowed(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    write_pictures(pictures / "test", 10)
    (pictures / "test" / "dress" / "004.jpg").write_bytes(b"")
    call = ["images", str(pictures), "--out", str(tmp_path), "--model", str(out / "model")]

    assert main(call) == 1
    assert capsys.readouterr().err == (
        f"{pictures / 'test'}: 1 of 10 pictures cannot be read, more than 2.0%; the first is "
        "dress/004.jpg (the file has no bytes); repair or remove them, or allow more with "
        "--max-refused\n"
    )
    assert len(lines(tmp_path, "test")) == 10
    assert main([*call, "--max-refused", "0.1"]) == 0


def test_a_broken_picture_is_not_learnt_from(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "clothing")
    (folder / "train" / "dress" / "000.jpg").write_bytes(b"no picture")
    call = ["images", str(folder), "--out", str(tmp_path / "out"), *FEW]
    assert main([*call, "--max-refused", "0.2"]) == 0
    assert [name for _, name, *_ in lines(tmp_path / "out", "validation")] == [
        *["dress"] * 3,
        *["shoes"] * 3,
    ]


def test_what_is_missing_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path / "clothing" / "train", 4)
    assert main(["images", str(tmp_path / "clothing"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path / 'clothing'}: expected a folder validation in it, found none\n"
    )


def test_a_class_that_is_only_in_validation_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_labelled(tmp_path / "clothing", 4, 2)
    (folder / "validation" / "hat").mkdir()
    (folder / "validation" / "hat" / "a.jpg").write_bytes(drawn("shoes", 1))
    assert main(["images", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"{folder / 'validation'}: expected folders named as in train, found hat\n"
    )


def test_a_damaged_model_is_not_used(out: Path, tmp_path: Path) -> None:
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((out / "model" / name).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(ContractError) as error:
        load_image_model(tmp_path)
    assert str(error.value) == f"{tmp_path}: the model of pictures is damaged; train it anew"


def test_an_encoder_adds_its_vectors_and_is_asked_for_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_network: None
) -> None:
    encoder, out = write_image_onnx(tmp_path / "encoder"), tmp_path / "out"
    call = ["images", str(folder), "--out", str(out), "--encoder", str(encoder)]
    assert main([*call, "--pictures-seen", "64"]) == 0  # too few for the network by itself
    assert all(file.startswith(f"{name}/") for file, name, *_ in lines(out, "test"))

    encoder_id = json.loads((out / "model" / "model.json").read_text())["encoder_id"]
    capsys.readouterr()
    again = ["images", str(folder), "--out", str(tmp_path), "--model", str(out / "model")]
    assert main(again) == 2
    assert capsys.readouterr().err == (
        f"the model was fitted with the encoder {encoder_id[:16]}, and now there is no encoder: "
        "name with --encoder what it was fitted with\n"
    )
    assert main([*again, "--encoder", str(encoder)]) == 0
    assert lines(tmp_path, "test") == lines(out, "test")
