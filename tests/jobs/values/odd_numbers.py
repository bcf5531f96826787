"""Numbers as JSON may write them, and what arrives of them."""

from __future__ import annotations

import random

WHOLE = {
    "123.0": "123",
    "123.000": "123",
    "-7.0": "-7",
    "1e3": "1000",
    "1.50E+2": "150",
    "1200e-02": "12",
    "-0.0": "0",
    "-0": "0",
    "0E-400": "0",
    "9007199254740993.0": "9007199254740993",
    "12345678901234567890123.0": "12345678901234567890123",
    "1.2345678901234567e+18": "1234567890123456700",
    "10.00": "10",
}
"""Numbers as files have them, and the whole number as which they arrive."""
NOT_WHOLE = ("1.50", "0.10", "-2.550", "15e-1", "1e-400", "1.00000000000000000001", "1e400")


def odd_number(rng: random.Random) -> str:
    """One with zeros, decimals or an exponent where one may stand."""
    text = rng.choice(["", "-"])
    text += rng.choice(["0", str(rng.randrange(1, 10 ** rng.randrange(1, 25)))])
    text += rng.choice(["", "0", "000"]) if text[-1] != "0" else ""
    if rng.random() < 0.6:
        text += "." + "".join(rng.choice("0001") for _ in range(rng.randrange(1, 6)))
    if rng.random() < 0.5:
        text += rng.choice("eE") + rng.choice(["", "+", "-"]) + rng.choice(["", "0"])
        text += str(rng.choice([0, 1, 2, 3, 5, 20, 38, 400]))
    return text
