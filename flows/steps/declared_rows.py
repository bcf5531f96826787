"""Released tables that declare a function for their rows, which a process runs day by day."""

from __future__ import annotations

from contracts.released_table import ReleasedTable
from contracts.specs import TableDay, TableSpec
from flows.engine.model_process import run_models
from flows.engine.run_context import RunContext
from flows.state.receipts import Receipts
from flows.steps.prefect_tasks import say
from flows.steps.writers import Writer, WriteRequest, WriteResult, WrittenFiles


def writer_of(released: ReleasedTable) -> Writer:
    """Has the declared function write the table's files."""

    def write(context: RunContext, receipts: Receipts, request: WriteRequest) -> WriteResult:
        files = {
            day: {table.name: request.files(table, day) for table in released.reads}
            for day in request.days
        }
        spec = TableSpec(
            released.table.name,
            tuple(
                TableDay(
                    day,
                    {name: tuple(f.path for f in group) for name, group in files[day].items()},
                    request.release_id,
                    f"{request.staging}/{day}.parquet",
                )
                for day in request.days
            ),
        )
        key = context.settings.key_of_weights()
        reports = run_models(spec, context.process_folder, say, key)["days"]
        rows_in = sum(f.rows for by_table in files.values() for g in by_table.values() for f in g)
        return WriteResult(
            rows_in,
            {
                day.as_of: WrittenFiles(report["rows"], (day.path,))
                for day, report in zip(spec.days, reports, strict=True)
            },
        )

    return Writer(write)
