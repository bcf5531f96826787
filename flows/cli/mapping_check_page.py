"""What `nightjar check` prints for a person."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from contracts.counts import n_of
from contracts.history import waiting
from flows.cli.render import rows
from flows.mapping_check.result import Checked, CheckedTable
from jobs.run import Unfound

HINTS = {
    ": not a time": "say how times are written, under the source: "
    'time_format = ["dd.MM.yyyy HH:mm"] or ["epoch_seconds"]',
    ": not a number": 'say how numbers are written, under the source: decimal = ",", '
    'thousands = "."',
    ": finer than a minor unit": "where it is what a whole line costs, map `amount` instead of "
    "`unit_price`",
    "stars: not 1 to 5": "say what may be given: stars_scale = [0, 10]",
    ": more than a day after it landed": "does the day in the file's name, `lands_after_days` or "
    "`timezone` say something else than the rows?",
    "currency: no rate for it": "give it one under [money] rates",
    ": conflicts with an earlier row of the same id": "the id is the same for different rows: make "
    "one of more columns, such as concat_ws('-', id, at)",
    ": not above 0": "are these returns or cancellations? `kind` says so, and how many are above "
    "0: kind = \"if(try_cast(n as int) < 0, 'cancellation', 'purchase')\", "
    'quantity = "abs(try_cast(n as int))"',
    " cannot be computed": "every raw column is text: convert it before you compare or calculate, "
    'as in "try_cast(price as double) > 0"',
    ": a bot, ": "if these are people, raise the limit under [bots]",
}
"""The end or a part of a reason, and what may help."""


def page(out: Console, result: Checked) -> None:
    """Tables, reasons with samples, tasks, and what may help."""
    out.print(rows_read(result))
    _files(out, result)
    out.print()
    _tables(out, result)
    _dropped(out, result)
    _listed(out, "ids that look as if there were none", [ids.advice for ids in result.null_like])
    _listed(out, "ids that are written in two ways", result.ids_with_decimals)
    _listed(out, "keys that no element has, of the first rows", result.absent_keys)
    _listed(out, "keys that lookups have no row for", map(unfound, result.unfound))
    _tasks(out, result)
    _listed(out, "what may help", [hint for table in result.tables for hint in hints_of(table)])


def _listed(out: Console, title: str, lines: Iterable[str]) -> None:
    """A title and lines below it; nothing where there are none."""
    for i, line in enumerate(lines):
        if i == 0:
            out.print(f"\n[bold]{title}[/bold]")
        out.print(f"  {line}", markup=False, soft_wrap=True)


def _files(out: Console, result: Checked) -> None:
    """What is to be said of files, lookups and limits."""
    for source in result.sources:
        if source.too_late:
            out.print(
                f"{source.name}: {n_of(source.too_late, 'row lands', 'rows land')} on "
                f"{result.as_of} or later: a night as of that day does not see them"
            )
    for line in result.cut_off:
        out.print(line, markup=False, soft_wrap=True)
    for lookup in result.lookups:
        out.print(f"lookup {lookup.name}: {lookup.file}, {n_of(lookup.rows, 'row')}")
    for why in result.would_stop:
        out.print(f"a night would stop: {why}", markup=False, soft_wrap=True)
    for why in result.may_stop:
        out.print(f"a night may stop, going by the rows read: {why}", markup=False, soft_wrap=True)


def _tables(out: Console, result: Checked) -> None:
    """Per clean table, what became of the rows meant for it."""
    names = ("table", "rows in", "clean", "duplicate", "quarantined", "users", "first", "last")
    values = [
        (
            table.name,
            table.rows_in,
            table.clean,
            table.duplicate,
            table.quarantined,
            table.users,
            table.first and f"{table.first:%Y-%m-%d %H:%M}",
            table.last and f"{table.last:%Y-%m-%d %H:%M}",
        )
        for table in result.tables
    ]
    rows(names, values, "table", out)


def rows_read(result: Checked) -> str:
    """What was read, in a sentence."""
    n, read = (sum(getattr(s, a) for s in result.sources) for a in ("files", "files_read"))
    rows = sum(s.rows for s in result.sources)
    what = "all rows" if result.max_rows is None else f"the first {n_of(result.max_rows, 'row')}"
    of = (
        n_of(n, "file")
        if read == n
        else f"{read:,} of {n:,} files, the newest and others spread evenly"
    )
    more = "" if result.max_rows is None else "; --rows all reads everything"
    return f"{what} of {of}, as of {result.as_of}: {n_of(rows, 'row')}{more}"


def _dropped(out: Console, result: Checked) -> None:
    listed = [(t.name, reason) for t in result.tables for reason in t.reasons]
    if not listed:
        return
    out.print("\n[bold]why rows are dropped[/bold], with samples, letters as a and digits as 9")
    rows(
        ("table", "reason", "rows", "file:line", "fields"),
        [
            (
                name if first else "",
                reason.text if first else "",
                f"{reason.rows:,}" if first else "",
                sample.place,
                sample.fields,
            )
            for name, reason in listed
            for first, sample in ((s is reason.samples[0], s) for s in reason.samples)
        ],
        "table",
        out,
    )


def unfound(keys: Unfound) -> str:
    """How many rows find nothing, and what to look for."""
    return (
        f"{keys.table} from {keys.source}: {n_of(keys.rows, 'row has a key', 'rows have keys')} "
        f"that lookup {keys.lookup} has no row for, so that its columns are null there. If it "
        "should have one: are both written alike (not 26.0 and 26, or Abc and abc), and does one "
        "hold on that day?"
    )


def _tasks(out: Console, result: Checked) -> None:
    too_few = dict(result.too_few)
    by_dates = [f.task.name for f in result.tasks if f.split is not None]
    on = [name for name in by_dates if name not in too_few]
    out.print("\n[bold]tasks[/bold]")
    if on:
        out.print(f"  can be trained as of {result.as_of}: {', '.join(on)}", soft_wrap=True)
    later = waiting(result.tasks)
    if later:
        out.print(f"  the data begin on {result.first_day}; with that history")
    for line in later:
        out.print(f"  {line}", soft_wrap=True)
    for why in dict.fromkeys(too_few.values()):
        names = ", ".join(name for name, said in too_few.items() if said == why)
        out.print(f"  off, for want of rows: {names}: {why}", soft_wrap=True)
    for tables in dict.fromkeys(lacks for _, lacks in result.switched_off):
        names = ", ".join(name for name, lacks in result.switched_off if lacks == tables)
        out.print(f"  off, for want of {tables}: {names}", soft_wrap=True)


def hints_of(table: CheckedTable) -> list[str]:
    """What may help against the reasons for which a table's rows were dropped."""
    hints = [
        f"{table.name}, {reason.text}: {hint}"
        for reason in table.reasons
        for part, hint in HINTS.items()
        if part in reason.text
    ]
    if table.rows_in and not table.clean:
        hints.insert(0, f"{table.name}: no row is clean; a night would have nothing of it")
    if not table.rows_in:
        hints.append(f"{table.name}: no row is meant for it; is its `where` right?")
    return hints
