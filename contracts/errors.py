"""What a person is told in a sentence, and by what exit code: every error of our own."""

from __future__ import annotations


class NightjarError(ValueError):
    """Something stopped what was asked for. The message is for a person."""


class ContractError(NightjarError):
    """Data, a declaration or a setting breaks what was agreed."""


class UsageError(ContractError):
    """The call, a setting or a mapping is wrong, and nothing was computed: it stays so until
    somebody changes it.

    It is a `ContractError`, for what a setting or a mapping breaks was agreed as well: whoever
    checks a contract need not know where its text comes from. Only the exit code tells the two
    apart (`flows/lifecycle/errors.py`).
    """


class BusyError(NightjarError):
    """Another run is writing or was first: a second try may pass, at once or later."""
