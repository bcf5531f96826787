"""How many decimal digits the minor unit of a currency has, as ISO 4217 says."""

from __future__ import annotations

_OTHERS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS = {code: digits for digits, codes in _OTHERS.items() for code in codes.split()}


def minor_digits(currency: str) -> int:
    """Two, but for a few currencies: yen have none, Kuwaiti dinars three."""
    return _DIGITS.get(currency, 2)
