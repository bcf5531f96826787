"""Erasure: a person is removed from everything that is kept, and does not come back."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from sqlalchemy import Engine, delete, insert, null, select, update

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.table import Table
from contracts.tables import EXAMPLES, LANDED, QUARANTINE, RECONCILIATION, TABLES
from flows.engine.fingerprints import LANDING, landing_stage
from flows.engine.run import Night
from flows.lake import maintenance
from flows.lake import rewrite as forget
from flows.lake.rewrite import Change, Moved
from flows.release.releases import Releases, show_again
from flows.retention import personal_rows
from flows.retention.cleanup import check_has, known_runs
from flows.settings import read_settings
from flows.state.receipts import trained_on
from flows.state.schema import ERASED, RECEIPTS, RELEASES, TRAINED_ON, suppressed
from flows.state.writer_lock import NIGHT_FIRST
from flows.steps import publish
from flows.steps.opening import default_as_of, only_writer
from flows.steps.parameters import as_path, as_text
from flows.steps.prefect_tasks import after_publication, flow, say
from flows.storage.location import plain_path
from jobs.spark.scratch import remove_left

_KEY = re.compile(r"[0-9a-f]{32}")


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
    night = Night(read_settings(source=as_path(source), raw=as_path(raw)), default_as_of())
    with only_writer(night, "an erasure", NIGHT_FIRST, erasing=key):
        made = take_out(night, key, as_text(reason, "reason"))
    with after_publication("the erasure's receipt for Prefect"):
        create_markdown_artifact(as_markdown(key, made), key="erasure", description=f"{key[:8]}…")
    get_run_logger().info(f"erased {key[:8]}…: {made}")
    return made


def take_out(night: Night, key: str, reason: str | None) -> dict[str, Any]:
    """Do it, or what an erasure that was killed has left to do. What was done.

    Raises:
        UsageError: there is nothing to do.
    """
    engine, root = night.engine, night.settings.home_folder.path
    check_sources(night)
    current = Releases(engine).current()
    if current is not None:
        check_has(night.lake, current)
    before = key in suppressed(engine)
    if not before:
        suppress(engine, key, reason, night.started_at)
    found = personal_rows.unfinished(engine, key)
    if found is None:
        found = personal_rows.find(night, {key})
        personal_rows.keep_first(engine, key, found, maintenance.reached_files(night.lake), root)
    if found.n_others:
        say(with_others(found))
    moved = rewrite(night, key, found)
    if not found.rows and not found.blanks:
        personal_rows.drop(engine, key)
        if before:
            raise UsageError("that person is erased already, and stays so: nothing was changed")
        unsuppress(engine, key)
        raise UsageError(
            "no table holds that user_key: nothing was erased. Is the id written as the "
            "mapping makes it, and hashed with this home's key?"
        )
    point(night, key, moved)
    publish.derive(Releases(engine), night.lake, night.settings, "erase")
    made = {
        "raw_rows": len(found.blanks),
        "rows_of_others": found.n_others,
        "rows": found.rows,
        "files_rewritten": sum(one.files for one in moved.values()),
        "files_removed": remove_files(night, key, personal_rows.reached_before(engine, key, root)),
        "models_marked": models_of(engine, key),
    }
    keep_receipt(engine, key, made)
    return made


def check_sources(night: Night) -> None:
    """Refuse where raw rows are kept that the mapping says nothing of: whom they name cannot be
    told, though they may name somebody.

    Raises:
        UsageError: naming their sources.
    """
    mapped = {landing_stage(source) for source in night.mapping.sources}
    stages = {receipt.stage for receipt in night.receipts.all()} - mapped
    gone = sorted(
        stage.removeprefix(LANDING)
        for stage in stages
        if stage.startswith(LANDING) and night.planner.digests(stage, LANDED.name)
    )
    if gone:
        raise UsageError(
            f"nothing was erased: raw rows of {', '.join(gone)} are kept, of which the mapping "
            f"{night.mapping.name} says nothing any more, so whom they name cannot be told. Erase "
            "with a mapping that has them (--source), such as the one that they landed with"
        )


def with_others(found: personal_rows.Traces) -> str:
    """What goes besides, for want of a way to cut a raw row apart."""
    return (
        f"{n_of(found.n_others, 'row')} of tables about other people "
        f"{'was' if found.n_others == 1 else 'were'} made of raw rows that are "
        "blanked whole: the person is named there outside of arrays, or their table's `each` is no "
        "column. They stay until their day is cleaned again, and are then counted as erased"
    )


def as_key(given: object) -> str:
    """A user's key.

    Raises:
        UsageError: it is none; what was entered is not repeated, for it may be personal.
    """
    text = as_text(given, "user_key") or ""
    if not _KEY.fullmatch(text):
        raise UsageError(
            f"user_key: expected 32 hex digits, found {len(text)} characters of something else; "
            "`nightjar erase USER` at the terminal takes the raw id"
        )
    return text


def suppress(engine: Engine, key: str, reason: str | None, at: datetime) -> None:
    with engine.begin() as connection:
        connection.execute(insert(ERASED).values(user_key=key, erased_at=at, reason=reason))


def unsuppress(engine: Engine, key: str) -> None:
    with engine.begin() as connection:
        connection.execute(delete(ERASED).where(ERASED.c.user_key == key))


def keep_receipt(engine: Engine, key: str, made: Mapping[str, Any]) -> None:
    """Write what was done in the place of what was found: no kill falls between the two."""
    with engine.begin() as connection:
        connection.execute(
            update(ERASED)
            .where(ERASED.c.user_key == key)
            .values(receipt=dict(made), traces=null(), reached=null())
        )


def rewrite(night: Night, key: str, found: personal_rows.Traces) -> dict[Table, Moved]:
    """Every table, in every snapshot that something needs."""
    needed = needed_snapshots(night)
    affected = {f.path for f in night.lake.files_of_days(LANDED, found.days)}
    moved = {}
    for table in TABLES:
        concerns: Callable[[str], bool]
        change: Change
        if table is LANDED:
            concerns, change = affected.__contains__, personal_rows.blanking(found)
        elif table is QUARANTINE:
            concerns, change = lambda path: bool(found.blanks), personal_rows.dropping(found)
        elif table is RECONCILIATION:
            concerns, change = lambda path: bool(found.counts), personal_rows.recounting(found)
        else:
            concerns = lambda path: forget.holding({key}, path)  # noqa: E731
            change = forget.without({key})
        staging = night.lake.staging(night.run_id, f"erase-{table.name}")
        moved[table] = forget.rewrite(
            night.lake, table, needed.get(table.name, set()), concerns, change, staging
        )
        if moved[table].files:
            found.rows[table.name] = found.rows.get(table.name, 0) + moved[table].rows
            personal_rows.keep(night.engine, key, found)
            say(f"{table.name}: {n_of(moved[table].files, 'file')} rewritten")
    return moved


def needed_snapshots(night: Night) -> dict[str, set[int]]:
    """Table to the snapshots that releases name, and those that models were trained on."""
    needed: dict[str, set[int]] = {}
    for release in Releases(night.engine).all():
        for name, snapshot in release.snapshots.items():
            needed.setdefault(name, set()).add(int(snapshot))
    for name, snapshots in trained_on(night.receipts).items():
        needed.setdefault(name, set()).update(snapshots)
    return needed


def point(night: Night, key: str, moved: Mapping[Table, Moved]) -> None:
    """Point releases and receipts to the rewritten snapshots, show them, and mark models that were
    trained on the person.

    All of it in one transaction, for the receipts are how such models are found.
    """
    engine = night.engine
    trained = moved[EXAMPLES].snapshots if EXAMPLES in moved else {}
    models = {
        str(receipt.outputs["model_id"])
        for day in night.receipts.days("train")
        if (receipt := night.receipts.get("train", day))
        and int(receipt.outputs.get("examples_snapshot") or 0) in trained
    }
    everything = Moved(
        {old: new for one in moved.values() for old, new in one.snapshots.items()},
        {old: new for one in moved.values() for old, new in one.paths.items()},
    )
    marked = set(models_of(engine, key))
    with engine.begin() as connection:
        for model_id in sorted(models - marked):
            connection.execute(insert(TRAINED_ON).values(model_id=model_id, user_key=key))
        for row in connection.execute(select(RELEASES)).mappings().all():
            connection.execute(
                update(RELEASES)
                .where(RELEASES.c.release_id == row["release_id"])
                .values(snapshots=everything.in_json(dict(row["snapshots"])))
            )
        for row in connection.execute(select(RECEIPTS)).mappings().all():
            outputs = everything.in_json(dict(row["outputs"]))
            if outputs != row["outputs"]:
                connection.execute(
                    update(RECEIPTS)
                    .where(RECEIPTS.c.stage == row["stage"], RECEIPTS.c.day == row["day"])
                    .values(outputs=outputs)
                )
    night.reload_receipts()
    needed = needed_snapshots(night)
    for table in moved:
        forget.expire_others(night.lake, table, needed.get(table.name, set()))
    if show_again(Releases(engine), night.lake, publish.database(night)):
        say(f"{publish.database(night).name} shows the release without them")


def models_of(engine: Engine, key: str) -> list[str]:
    """Models that were trained on the person."""
    found = select(TRAINED_ON.c.model_id).where(TRAINED_ON.c.user_key == key)
    with engine.connect() as connection:
        return sorted(str(model) for model in connection.execute(found).scalars())


def remove_files(night: Night, key: str, before: Collection[str]) -> int:
    """Delete the files that it has replaced, and what runs left; take the key out of pages.

    Of what nothing had reached before either, files that may tell of the person go at once, for
    whoever would have committed them has lost the right to write; the others keep their time.

    Args:
        before: Files that tables led to before the erasure.
    """
    runs = known_runs(night.engine) | maintenance.runs_of(night.lake, before)
    stale = maintenance.stale_files(night.lake, runs, None)
    grace = night.started_at - timedelta(hours=night.settings.keep_files_hours)
    gone = tuple(
        file
        for file in stale.files
        if (path := plain_path(file.location)) in before
        or file.changed_at < grace
        or forget.may_tell({key}, path)
    )
    maintenance.remove(night.lake, maintenance.Stale(gone))
    home = night.settings.home_folder
    remove_left(home.scratch / "spark")
    for folder in home.storage.folders(home.runs):
        home.storage.remove_folder(folder.location)
    for kept in (home.reports, home.mlflow_artifacts):
        for page in home.storage.files(kept, recursive=True):
            if not page.location.endswith(".html"):
                continue
            text = home.storage.read_text(page.location)
            if key[:8] in text:
                home.storage.write_text(page.location, text.replace(key[:8], "erased"))
    return len(gone)


def as_markdown(key: str, made: Mapping[str, Any]) -> str:
    """The receipt, for the Prefect UI."""
    lines = [
        f"# {key[:8]}… is erased",
        "",
        f"{n_of(made['raw_rows'], 'raw row is', 'raw rows are')} blanked, whole or where the "
        "person is named, "
        f"{n_of(made['files_rewritten'], 'file')} rewritten, "
        f"{n_of(made['files_removed'], 'file')} deleted. Rows that land later are blanked as they "
        "come.",
        *_of_others(made),
        "",
        "| table | rows taken out of its newest snapshot |",
        "|---|--:|",
        *(f"| {name} | {n:,} |" for name, n in made["rows"].items()),
        "",
        "Models that were trained on them and are marked: "
        f"{', '.join(made['models_marked']) or 'none'}.",
    ]
    return "\n".join(lines)


def _of_others(made: Mapping[str, Any]) -> list[str]:
    n = made["rows_of_others"]
    return (
        [
            f"With them {'goes' if n == 1 else 'go'} {n_of(n, 'row')} about other people, once "
            "their days are cleaned again."
        ]
        if n
        else []
    )
