"""Keep stacks out of logs where the message is meant for a person and says it all."""

from __future__ import annotations

import logging

from contracts.table import ContractError


class _NoStack(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], ContractError):
            record.exc_info = None
            record.exc_text = None
        return True


def hide_stacks() -> None:
    """Let Prefect log a ContractError as its message alone."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_NoStack())
