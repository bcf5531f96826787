"""Erasure: a person is removed from everything that is kept, and does not come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.user_keys import DIGITS, is_user_key
from flows.engine.run import Run
from flows.retention.erasure import erase_person
from flows.settings import read_settings
from flows.state.writer_lock import NIGHT_FIRST
from flows.steps.opening import default_as_of, only_writer
from flows.steps.parameters import as_path, as_text
from flows.steps.prefect_tasks import after_publication, flow


@flow(name="erase", validate_parameters=False)
def erase(
    user_key: str,
    reason: str = "",
    source: str = "",
    raw: str = "",
) -> dict[str, Any]:
    """Remove a person from everything that is kept, in every release, and keep them out.

    Runs in Prefect are remembered with what was entered, so this takes the user's key and never
    the raw id; `nightjar erase USER` at the terminal hashes it first.

    Args:
        user_key: The user's key: 32 hex digits, as in the column user_key of every table.
        reason: Why, in a few words, such as the number of the request. It is kept.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
    """
    key = as_key(user_key)
    run = Run(read_settings(source=as_path(source), raw=as_path(raw)), default_as_of())
    with only_writer(run, "an erasure", NIGHT_FIRST, erasing=key):
        receipt = erase_person(run, key, as_text(reason, "reason"))
    with after_publication("the erasure's receipt for Prefect"):
        text = as_markdown(key, receipt)
        create_markdown_artifact(text, key="erasure", description=f"{key[:8]}…")
    get_run_logger().info(f"erased {key[:8]}…: {receipt}")
    return receipt


def as_key(given: object) -> str:
    """A user's key.

    Raises:
        UsageError: it is none; what was entered is not repeated, for it may be personal.
    """
    text = as_text(given, "user_key") or ""
    if not is_user_key(text):
        raise UsageError(
            f"user_key: expected {DIGITS} hex digits, found {len(text)} characters of something "
            "else; `nightjar erase USER` at the terminal takes the raw id"
        )
    return text


def as_markdown(key: str, receipt: Mapping[str, Any]) -> str:
    """The receipt, for the Prefect UI."""
    lines = [
        f"# {key[:8]}… is erased",
        "",
        f"{n_of(receipt['raw_rows'], 'raw row is', 'raw rows are')} blanked, whole or where the "
        "person is named, "
        f"{n_of(receipt['files_rewritten'], 'file')} rewritten, "
        f"{n_of(receipt['files_removed'], 'file')} deleted. Rows that land later are blanked as "
        "they come.",
        *_of_others(receipt),
        "",
        "| table | rows taken out of its newest snapshot |",
        "|---|--:|",
        *(f"| {name} | {n:,} |" for name, n in receipt["rows"].items()),
        "",
        "Models that were trained on them and are marked: "
        f"{', '.join(receipt['models_marked']) or 'none'}.",
    ]
    return "\n".join(lines)


def _of_others(receipt: Mapping[str, Any]) -> list[str]:
    n = receipt["rows_of_others"]
    return (
        [
            f"With them {'goes' if n == 1 else 'go'} {n_of(n, 'row')} about other people, once "
            "their days are cleaned again."
        ]
        if n
        else []
    )
