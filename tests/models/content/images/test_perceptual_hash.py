"""Near copies of a picture differ in few bits, other pictures in about half."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import dct

from models.content.images.decoding import Framing, decode
from models.content.images.perceptual_hash import hamming_distance, perceptual_hash
from tests.models.content.images.drawn_pictures import saved


def shapes(seed: int) -> Image.Image:
    """Blurred blobs of many colours."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((150, 180), Image.Resampling.BICUBIC)


def hashed(image: Image.Image, kind: str = "PNG", **options: int) -> int:
    pixels = decode(saved(image, kind, **options), Framing(64))
    assert isinstance(pixels, np.ndarray)
    return perceptual_hash(pixels)


def test_the_hash_is_the_signs_of_low_frequencies_about_their_median() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    transformed = dct(dct(grey, axis=0, norm="ortho"), axis=1, norm="ortho")
    low = transformed[1:9, 1:9].ravel()
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert perceptual_hash(pixels) == int(bits, 2)


def test_sides_that_are_no_multiple_of_32_are_averaged_over_parts_of_pixels() -> None:
    small = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    once = perceptual_hash(small)
    assert perceptual_hash(small.repeat(2, 0).repeat(3, 1)) == once
    whole = small.repeat(5, 0).repeat(5, 1)
    by_hand = whole.reshape(32, 5, 32, 5, 3).mean((1, 3)).astype(np.uint8)
    assert perceptual_hash(whole) == perceptual_hash(by_hand)


def test_copies_made_smaller_lighter_or_saved_anew_are_near_and_others_are_not() -> None:
    for seed in range(20):
        image = shapes(seed)
        once = hashed(image)
        smaller = image.resize((75, 90), Image.Resampling.BILINEAR)
        lighter = image.point(lambda v: v * 0.8 + 40)
        assert hamming_distance(once, hashed(smaller)) <= 6
        assert hamming_distance(once, hashed(lighter)) <= 6
        assert hamming_distance(once, hashed(image, "JPEG", quality=40)) <= 6
        assert hamming_distance(once, hashed(shapes(seed + 100))) > 16


def test_a_picture_of_one_colour_has_a_hash() -> None:
    assert hashed(Image.new("RGB", (10, 10), (9, 9, 9))) in range(2**64)
