"""A hash by which near copies of a picture are found: those that were made smaller, lighter, or
saved anew differ in few of its 64 bits.

The DCT hash of Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010),
3.2.1: which of the 8 x 8 lowest frequencies of a picture's brightness at 32 x 32 pixels are above
their median; those that are constant along a side are left out.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

_SIDE, _LOW = 32, 8
_LUMA = np.array([0.299, 0.587, 0.114])
"""Brightness of red, green and blue (ITU-R BT.601)."""


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits of pixels (H, W, 3), uint8; H and W at least 32.

    Take it of one framing: what is cut off or stretched is another picture.
    """
    grey = _averaged(_averaged(pixels @ _LUMA).T).T
    low = dctn(grey, norm="ortho")[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming_distance(one: int, other: int) -> int:
    """Bits in which two hashes differ."""
    return (one ^ other).bit_count()


def _averaged(grey: np.ndarray) -> np.ndarray:
    """Rows (H, W) as 32 means of as many rows, or of rows and parts of rows: (32, W)."""
    height = len(grey)
    sums = np.vstack([np.zeros((1, grey.shape[1])), np.cumsum(grey, axis=0)])
    edges = np.linspace(0, height, _SIDE + 1)
    whole = np.minimum(edges.astype(int), height - 1)
    at_edges = sums[whole] + (edges - whole)[:, None] * grey[whole]
    return np.diff(at_edges, axis=0) * (_SIDE / height)
