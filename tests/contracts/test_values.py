from __future__ import annotations

from contracts.values import masked


def test_masks_hide_letters_of_every_script_and_cut_what_is_long() -> None:
    assert masked("Ünal-7 日本 x_y") == "aaaa-9 aa a_a"
    assert masked("a\n\x1b[31m") == "a??[99a"
    assert masked("a" * 60, 10) == "a" * 9 + "…"
