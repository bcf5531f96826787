"""Erasure: a person is removed from everything that is kept, and does not come back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

from sqlalchemy import Engine, delete, insert, null, select, update

from contracts.counts import n_of
from contracts.erasure import OF_WHAT_IS_WRITTEN
from contracts.errors import ContractError, UsageError
from contracts.table import Table
from contracts.tables import EXAMPLES, LANDED, QUARANTINE, RECONCILIATION, TABLES
from flows.engine.fingerprints import LANDING, landing_stage
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lake import maintenance, named_people, rewrite
from flows.lake.named_people import Change
from flows.lake.rewrite import Moved
from flows.release.releases import Releases, show_again
from flows.retention import personal_rows
from flows.retention.housekeeping import check_has, known_runs, remove_folders
from flows.retention.personal_rows import PersonalRows
from flows.state.receipts import Receipts, trained_on
from flows.state.schema import ERASED, RECEIPTS, RELEASES, TRAINED_ON, suppressed
from flows.steps import publish
from flows.steps.prefect_tasks import say
from flows.storage.location import plain_path
from flows.storage.storage import Storage
from jobs.mapping.sources import SourceMapping
from jobs.spark.scratch import remove_left


def erase_person(run: Run, key: str, reason: str | None) -> dict[str, Any]:
    """Erase somebody, or finish an erasure that was killed. What was done.

    Raises:
        UsageError: there is nothing to do.
    """
    engine, root = run.engine, run.settings.home_folder.path
    check_sources(run.mapping, run.state)
    current = Releases(engine).current()
    if current is not None:
        check_has(run.lake, current)
    before = key in suppressed(engine)
    if not before:
        suppress(engine, key, reason, run.context.started_at)
    personal = rows_of(run, key)
    if personal.n_others:
        say(with_others(personal))
    rewritten = rewrite_tables(run.run_id, run.state, key, personal)
    if not personal.rows and not personal.blanks:
        drop_attempt(engine, key, before)
    point_to(run, key, rewritten)
    publish.repair_and_announce(Releases(engine), run.lake, run.settings, "erase")
    reached = personal_rows.reached_before(engine, key, root)
    receipt = {
        "raw_rows": len(personal.blanks),
        "rows_of_others": personal.n_others,
        "rows": personal.rows,
        "files_rewritten": sum(one.files for one in rewritten.values()),
        "files_removed": remove_files(run.context, run.state, key, personal.written, reached),
        "models_marked": models_of(engine, key),
    }
    keep_receipt(engine, key, receipt)
    return receipt


def rows_of(run: Run, key: str) -> PersonalRows:
    """Where the person is: as the attempt before has kept it, or looked for now, and kept."""
    personal = personal_rows.unfinished(run.engine, key)
    if personal is None:
        personal = personal_rows.find(run.spark, run.lake, run.context.job_settings, {key})
        written = personal_rows.written_by(run.lake, {key})
        texts = personal_rows.texts_of(run.lake, {key})
        personal = replace(personal, written=written | texts)
        reached, root = maintenance.reached_files(run.lake), run.settings.home_folder.path
        personal_rows.keep_first(run.engine, key, personal, reached, root)
    return personal


def drop_attempt(engine: Engine, key: str, before: bool) -> NoReturn:
    """Leave no trace of somebody who is in no table.

    Args:
        engine: the home's database.
        key: the user's.
        before: whether they were erased before; then they stay so.

    Raises:
        UsageError: always.
    """
    personal_rows.drop(engine, key)
    if before:
        raise UsageError("that person is erased already, and stays so: nothing was changed")
    unsuppress(engine, key)
    raise UsageError(
        "no table holds that user_key: nothing was erased. Is the id written as the "
        "mapping makes it, and hashed with this home's key?"
    )


def check_sources(mapping: SourceMapping, state: HomeState) -> None:
    """Refuse where raw rows are kept that the mapping says nothing of: whom they name cannot be
    told, though they may name somebody.

    Raises:
        UsageError: naming their sources.
    """
    mapped = {landing_stage(source) for source in mapping.sources}
    stages = {receipt.stage for receipt in state.receipts.all()} - mapped
    gone = sorted(
        stage.removeprefix(LANDING)
        for stage in stages
        if stage.startswith(LANDING) and state.fingerprints.digests(stage, LANDED.name)
    )
    if gone:
        raise UsageError(
            f"nothing was erased: raw rows of {', '.join(gone)} are kept, of which the mapping "
            f"{mapping.name} says nothing any more, so whom they name cannot be told. Erase "
            "with a mapping that has them (--source), such as the one that they landed with"
        )


def with_others(personal: PersonalRows) -> str:
    """What goes besides, for want of a way to cut a raw row apart."""
    return (
        f"{n_of(personal.n_others, 'row')} of tables about other people "
        f"{'was' if personal.n_others == 1 else 'were'} made of raw rows that are "
        "blanked whole: the person is named there outside of arrays, or their table's `each` is no "
        "column. They stay until their day is cleaned again, and are then counted as erased"
    )


def suppress(engine: Engine, key: str, reason: str | None, at: datetime) -> None:
    with engine.begin() as connection:
        connection.execute(insert(ERASED).values(user_key=key, erased_at=at, reason=reason))


def unsuppress(engine: Engine, key: str) -> None:
    with engine.begin() as connection:
        connection.execute(delete(ERASED).where(ERASED.c.user_key == key))


def keep_receipt(engine: Engine, key: str, receipt: Mapping[str, Any]) -> None:
    """Write what was done in the place of where the person was: no kill falls between the two."""
    with engine.begin() as connection:
        connection.execute(
            update(ERASED)
            .where(ERASED.c.user_key == key)
            .values(receipt=dict(receipt), traces=null(), reached=null())
        )


def rewrite_tables(
    run_id: str, state: HomeState, key: str, personal: PersonalRows
) -> dict[Table, Moved]:
    """Every table without the person, in every snapshot that something needs."""
    needed, lake = needed_snapshots(state.engine, state.receipts), state.lake
    landed = {file.path for file in lake.files_of_days(LANDED, personal.days)}
    rewritten = {}
    for table in TABLES:
        concerns, change = change_of(table, key, personal, landed)
        staging = lake.staging(run_id, f"erase-{table.name}")
        snapshots = needed.get(table.name, set())
        moved = rewrite.rewrite(lake, table, snapshots, concerns, change, staging)
        rewritten[table] = moved
        if moved.files:
            personal.rows[table.name] = personal.rows.get(table.name, 0) + moved.rows
            personal_rows.keep(state.engine, key, personal)
            say(f"{table.name}: {n_of(moved.files, 'file')} rewritten")
    return rewritten


def change_of(
    table: Table, key: str, personal: PersonalRows, landed: Collection[str]
) -> tuple[Callable[[str], bool], Change]:
    """Which files of a table may hold the person, and what becomes of their rows.

    Args:
        table: the table.
        key: the user's, which all tables but those about raw rows name them by.
        personal: where raw rows about them are.
        landed: files with raw rows of those days.
    """
    if table is LANDED:
        return landed.__contains__, personal_rows.blanking(personal)
    if table is QUARANTINE:
        return lambda path: bool(personal.blanks), personal_rows.dropping(personal)
    if table is RECONCILIATION:
        return lambda path: bool(personal.counts), personal_rows.recounting(personal)
    keys = {key, *personal.written} if table in OF_WHAT_IS_WRITTEN else {key}
    arrays = named_people.arrays_of(table)
    return (
        lambda path: named_people.holding(keys, path, arrays),
        named_people.without(table, keys),
    )


def needed_snapshots(engine: Engine, receipts: Receipts) -> dict[str, set[int]]:
    """Table to the snapshots that releases name, and those that models were trained on."""
    needed: dict[str, set[int]] = {}
    for release in Releases(engine).all():
        for name, snapshot in release.snapshots.items():
            needed.setdefault(name, set()).add(int(snapshot))
    for name, snapshots in trained_on(receipts).items():
        needed.setdefault(name, set()).update(snapshots)
    return needed


def point_to(run: Run, key: str, rewritten: Mapping[Table, Moved]) -> None:
    """Point releases and receipts to the rewritten snapshots, show them, and mark models that were
    trained on the person."""
    trained = rewritten[EXAMPLES].snapshots if EXAMPLES in rewritten else {}
    models = {
        str(receipt.outputs["model_id"])
        for day in run.receipts.days("train")
        if (receipt := run.receipts.get("train", day))
        and int(receipt.outputs.get("examples_snapshot") or 0) in trained
    }
    moved = Moved(
        {old: new for one in rewritten.values() for old, new in one.snapshots.items()},
        {old: new for one in rewritten.values() for old, new in one.paths.items()},
    )
    record(run.engine, key, models, moved)
    run.reload_receipts()
    needed = needed_snapshots(run.engine, run.receipts)
    for table in rewritten:
        rewrite.expire_others(run.lake, table, needed.get(table.name, set()))
    database = run.settings.home_folder.analysts_file
    if show_again(Releases(run.engine), run.lake, database):
        say(f"{database.name} shows the release without them")


def record(engine: Engine, key: str, models: Collection[str], moved: Moved) -> None:
    """Put the new snapshots and paths where the old ones stand, and mark the models: all in one
    transaction, for the receipts are how such models are known."""
    marked = set(models_of(engine, key))
    with engine.begin() as connection:
        for model_id in sorted(set(models) - marked):
            connection.execute(insert(TRAINED_ON).values(model_id=model_id, user_key=key))
        for row in connection.execute(select(RELEASES)).mappings().all():
            connection.execute(
                update(RELEASES)
                .where(RELEASES.c.release_id == row["release_id"])
                .values(snapshots=moved.in_json(dict(row["snapshots"])))
            )
        for row in connection.execute(select(RECEIPTS)).mappings().all():
            outputs = moved.in_json(dict(row["outputs"]))
            if outputs != row["outputs"]:
                connection.execute(
                    update(RECEIPTS)
                    .where(RECEIPTS.c.stage == row["stage"], RECEIPTS.c.day == row["day"])
                    .values(outputs=outputs)
                )


def models_of(engine: Engine, key: str) -> list[str]:
    """Models that were trained on the person."""
    asked = select(TRAINED_ON.c.model_id).where(TRAINED_ON.c.user_key == key)
    with engine.connect() as connection:
        return sorted(str(model) for model in connection.execute(asked).scalars())


def remove_files(
    context: RunContext,
    state: HomeState,
    key: str,
    written: Collection[str],
    before: Collection[str],
) -> int:
    """Delete the files that it has replaced, what runs left, and what texts are scored with, which
    the next night learns without the person; take the key out of pages.

    Of what nothing had reached before either, files that may tell of the person go at once, for
    whoever would have committed them has lost the right to write; the others keep their time.

    Args:
        context: what the run knows.
        state: the home's database and lake.
        key: the user's.
        written: ids of what the user wrote.
        before: Files that tables led to before the erasure.

    Returns:
        How many data files are deleted.

    Raises:
        ContractError: folders of runs could not be removed; all else is done.
    """
    lake, settings = state.lake, context.settings
    runs = known_runs(state.engine) | maintenance.runs_of(lake, before)
    stale = maintenance.stale_files(lake, runs, None)
    grace = context.started_at - timedelta(hours=settings.keep_files_hours)
    gone = tuple(
        file
        for file in stale.files
        if (path := plain_path(file.location)) in before
        or file.changed_at < grace
        or named_people.may_tell({key, *written}, path)
    )
    maintenance.remove(lake, maintenance.Stale(gone))
    home = settings.home_folder
    left = [f"{folder}: not all of it" for folder in remove_left(home.scratch / "spark")]
    left += remove_folders(
        home.storage,
        [f.location for of in (home.runs, home.content_models) for f in home.storage.folders(of)],
    )
    for pages in (home.reports, home.mlflow_artifacts):
        for page in home.storage.files(pages, recursive=True):
            if page.location.endswith(".html"):
                hide_key(home.storage, page.location, key)
    if left:
        raise ContractError(
            f"the person is out of every table, but {n_of(len(left), 'folder')} that runs have "
            "left may still tell of them. Remove what could not be removed, then erase again, "
            "which ends the erasure:\n" + "\n".join(f"  {problem}" for problem in left)
        )
    return len(gone)


def hide_key(storage: Storage, page: str, key: str) -> None:
    """Take the start of a key, which is all that a page shows of one, out of it."""
    text = storage.read_text(page)
    if key[:8] in text:
        storage.write_text(page, text.replace(key[:8], "erased"))
