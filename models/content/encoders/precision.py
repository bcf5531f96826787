"""In how many bits an encoder computes."""

from __future__ import annotations

from pathlib import Path

import torch

from contracts.errors import ContractError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Names of precisions that are computed in."""
_CPU = Path("/proc/cpuinfo")
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What processors that multiply bfloat16 call it: Intel's and AMD's, Intel's tiles, ARM's."""


def precision_of(setting: str | None, cpu: Path = _CPU) -> str:
    """A precision by its name; for "auto" and None, bf16 where the processor multiplies it.

    Elsewhere, fp32.

    Raises:
        ContractError: there is no such setting.
    """
    if setting in PRECISIONS:
        return str(setting)
    if setting not in ("auto", None):
        raise ContractError(
            f"precision {setting!r} is not known: expected {', '.join(PRECISIONS)} or auto"
        )
    words = set(cpu.read_text().split()) if cpu.exists() else set()
    return "bf16" if words & _FLAGS else "fp32"
