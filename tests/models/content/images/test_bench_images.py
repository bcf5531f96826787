"""What `make bench-content` says of pictures."""

from __future__ import annotations

from pathlib import Path

from models.content.images.image_encoder import load_image_encoder
from models.content.images.predict_folder import PicturePolicy
from models.content.images.training import ImageTrainConfig
from tests.bench.content_images import bench
from tests.models.content.encoders.tiny_encoders import write_image_onnx
from tests.models.content.images.labelled_folders import drawn, write_labelled, write_pictures


def test_each_labelled_part_has_a_line_per_model(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "clothing")
    write_pictures(folder / "test", 4)
    (folder / "new").mkdir()
    (folder / "new" / "a.jpg").write_bytes(drawn("dress", 900))
    policy = PicturePolicy(load_image_encoder(write_image_onnx(tmp_path / "encoder")))

    lines = list(bench(folder, ImageTrainConfig(pictures_seen=64), policy, n_timed=16))
    assert [(line["part"], line["model"], line["metric"]) for line in lines] == [
        ("train", "default", "cpu_seconds"),
        ("test", "default", "accuracy"),
        ("validation", "default", "accuracy"),
        ("test", "encoder", "accuracy"),
        ("validation", "encoder", "accuracy"),
    ]
    assert [line["value"] for line in lines[3:]] == [1.0, 1.0]
    assert all(line["task"] == "clothing" for line in lines)
    assert all(line["pictures_per_cpu_second"] > 0 for line in lines[1:])
