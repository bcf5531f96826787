"""The boosted trees of a task: as text, of which LightGBM makes them again without executing code.

Letters: B rows, F features, J raw scores.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError
from models.data.numeric_transforms import Floats

Doubles = npt.NDArray[np.float64]
_ALWAYS = (1980, 1, 1, 0, 0, 0)
"""When a file in an archive was made, as far as the archive says."""


@dataclass(frozen=True)
class TaskTrees:
    """One booster per raw score, or one of all classes; and what trees do not say."""

    texts: tuple[str, ...]
    """LightGBM's models as text."""
    spread: float = 0.0
    """The head's number for the spread, the same for all rows; unused by kinds without one."""

    @cached_property
    def _boosters(self) -> list[lgb.Booster]:
        return [lgb.Booster(model_str=text) for text in self.texts]

    @cached_property
    def gain_shares(self) -> Doubles:
        """(F,): the share of all that splits gained in training which was gained by a feature."""
        gains = np.sum([booster.feature_importance("gain") for booster in self._boosters], axis=0)
        shares: Doubles = gains / max(gains.sum(), 1e-12)
        return shares

    def raw(self, inputs: Floats, threads: int = 1) -> Doubles:
        """Raw scores (B, J) of `tree_inputs` (B, F): sums over trees, before any link."""
        return np.concatenate(
            [
                np.asarray(
                    booster.predict(inputs, raw_score=True, num_threads=threads), np.float64
                ).reshape(len(inputs), -1)
                for booster in self._boosters
            ],
            axis=1,
        )

    def contributions(self, inputs: Floats, threads: int = 1) -> Doubles:
        """(B, J, F + 1): how far each feature moves a raw score (TreeSHAP: Lundberg et al., 2020);
        last, what is expected without any. They add up to the raw score."""
        n, width = inputs.shape[0], inputs.shape[1] + 1
        return np.concatenate(
            [
                np.asarray(
                    booster.predict(inputs, pred_contrib=True, num_threads=threads), np.float64
                ).reshape(n, -1, width)
                for booster in self._boosters
            ],
            axis=1,
        )


def to_archive(trees: Mapping[str, TaskTrees]) -> bytes:
    """All tasks' models in one ZIP archive, a text file each: the same bytes for the same trees."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for task in sorted(trees):
            for i, text in enumerate(trees[task].texts):
                entry = zipfile.ZipInfo(f"{task}/{i}.txt", _ALWAYS)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, text)
    return content.getvalue()


def of_archive(content: bytes | None, spreads: Mapping[str, float]) -> dict[str, TaskTrees]:
    """The trees of the tasks in `spreads`, from what `to_archive` gave; there may be none.

    Raises:
        ContractError: it is no such archive.
    """
    trees: dict[str, TaskTrees] = {}
    if content is None:
        return trees
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for task, spread in spreads.items():
                names = [name for name in archive.namelist() if name.startswith(f"{task}/")]
                if not names:
                    raise KeyError(task)
                texts = [archive.read(f"{task}/{i}.txt").decode() for i in range(len(names))]
                trees[task] = TaskTrees(tuple(texts), spread)
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, RuntimeError, EOFError, zlib.error):
        raise ContractError("the archive of trees is damaged") from None
    return trees
