"""What a person is told in a sentence, and by what exit code: every error of our own."""

from __future__ import annotations


class NightjarError(ValueError):
    """Something stopped what was asked for. The message is for a person."""


class ContractError(NightjarError):
    """Data, a declaration or a setting breaks what was agreed."""


class UsageError(ContractError):
    """The call, a setting or a mapping is wrong, and nothing was computed: it stays so until
    somebody changes it."""


class BusyError(NightjarError):
    """Another run is writing: another time it may pass."""
