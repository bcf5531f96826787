"""A folder of pictures: parts in it, and the classes of those that are learnt from.

FOLDER/train/CLASS/…        what is learnt from
FOLDER/validation/CLASS/…   what settings are chosen and probabilities calibrated by
FOLDER/PART/…               anything else, in folders or not
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.errors import UsageError
from models.content.images.training import NOT_LABELLED

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class Part:
    """The files of one folder."""

    root: Path
    files: tuple[str, ...]
    """Relative to `root`, in order; hidden ones are left out."""

    @property
    def name(self) -> str:
        return self.root.name

    def labels(self, classes: tuple[str, ...]) -> np.ndarray:
        """The number (N,), int64, of each file's class; `NOT_LABELLED` where none of its folders
        is one."""
        numbers = {name: number for number, name in enumerate(classes)}
        of_files = [numbers.get(file.split("/")[0], NOT_LABELLED) for file in self.files]
        return np.array(of_files, dtype=np.int64)


def part_of(folder: Path, name: str) -> Part:
    """A part by its name.

    Raises:
        UsageError: it is missing, or has no files.
    """
    root, files = folder / name, []
    if not root.is_dir():
        raise UsageError(f"{folder}: expected a folder {name} in it, found none")
    for at, folders, names in os.walk(root):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        below = Path(at).relative_to(root)
        files += [(below / one).as_posix() for one in names if not one.startswith(".")]
    if not files:
        raise UsageError(f"{root}: expected pictures, found no files")
    return Part(root, tuple(sorted(files)))


def parts_of(folder: Path, out: Path) -> list[Part]:
    """All parts in the order of their names, but for what is written into the folder.

    Raises:
        UsageError: the folder is missing, has no parts, or is itself written into.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    written = out.resolve()
    if written == folder.resolve():
        raise UsageError(f"{out}: expected another folder than that of the pictures; change --out")
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and not written.is_relative_to(path.resolve())
    )
    if not names:
        raise UsageError(f"{folder}: expected folders of pictures in it, found none")
    return [part_of(folder, name) for name in names]


def classes_of(train: Part) -> tuple[str, ...]:
    """Names of the folders in a part, which are its classes.

    Raises:
        UsageError: there are fewer than two.
    """
    names = sorted({file.split("/")[0] for file in train.files if "/" in file})
    if len(names) < 2:
        raise UsageError(
            f"{train.root}: expected a folder for each of several classes, found {len(names)}"
        )
    return tuple(names)


def check_classes(part: Part, classes: tuple[str, ...]) -> None:
    """Raises:
    UsageError: a file of the part is in the folder of no class.
    """
    unlabelled = part.labels(classes) == NOT_LABELLED
    if unlabelled.any():
        first = part.files[int(unlabelled.argmax())]
        raise UsageError(
            f"{part.root}: expected folders named as in {TRAIN}, found {first.split('/')[0]}"
        )
