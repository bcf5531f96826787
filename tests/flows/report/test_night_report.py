"""How the page of a night writes numbers and rows."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import duckdb
import pytest

from contracts.recommendation_tables import REC_OUTCOMES
from contracts.tables import USER_SCORES
from contracts.tasks import task_named
from flows.report.charts import Bin, histogram, quality
from flows.report.rendering import cells, code, interval, number
from flows.report.sample import USERS, sample
from flows.report.sections import list_outcomes


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "—"), (math.nan, "—"), (0.123456, "0.1235"), (999.94, "999.9"), (-1234.5, "-1,234")],
)
def test_a_number_has_four_digits_and_a_large_one_commas(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_difference_is_signed_and_what_is_no_number_is_a_dash() -> None:
    assert interval({"gain": 0.01234, "low": -0.5, "high": 2345.0}) == "+0.0123 (-0.5 to +2,345)"
    assert interval({"gain": 0.0, "low": math.nan, "high": math.nan}) == "+0 (— to —)"


def test_what_stands_between_backticks_is_code_and_all_of_it_is_escaped() -> None:
    assert code("run `nightjar run` if a < b, a ` alone") == (
        "run <code>nightjar run</code> if a &lt; b, a ` alone"
    )


def test_a_bar_in_a_text_does_not_end_its_cell() -> None:
    assert cells(["a|b", 3, None]) == "a\\|b | 3 | None"


def test_what_there_is_nothing_of_is_no_picture() -> None:
    churn = task_named("churn_28d")
    assert histogram(churn, []) is None
    assert quality(churn, [], []) is None
    assert (histogram(churn, [Bin(0.0, 0.1, 3)]) or "").startswith("data:image/svg+xml;base64,")


def test_a_sample_of_scores_answers_each_task_of_a_few_users_without_their_keys(
    tmp_path: Path,
) -> None:
    names = ("churn_28d", "spend_30d", "view_7d", "interests_30d", "sentiment_next_30d")
    tasks, day = [task_named(name) for name in names], date(2025, 3, 1)
    columns = ", ".join(
        f"'books' AS {column.name}" if column.name.endswith("_top") else f"i / 8 AS {column.name}"
        for task in tasks
        for column in task.score_columns()
    )
    database = tmp_path / "release.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE release_files (path VARCHAR)")
        connection.execute(
            f"CREATE TABLE {USER_SCORES.name} AS SELECT 'key' || i AS user_key, "
            f"DATE '{day}' AS as_of, {columns} FROM range(9) t(i)"
        )
    header, rows = sample(database, day, tasks)
    assert header == ["user", *names]
    assert rows == [
        (i + 1, round(i / 8, 3), round(i / 8, 3), round(i / 8, 3), "books", "negative")
        for i in range(USERS)
    ]


def test_lists_stand_beside_popularity_and_own_of_the_newest_day_that_is_known(
    tmp_path: Path,
) -> None:
    database = tmp_path / "release.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE release_files (path VARCHAR)")
        connection.execute(
            f"""
            CREATE TABLE {REC_OUTCOMES.name} AS
            SELECT surface, segment, method, DATE '2025-06-01' + day::INTEGER AS as_of, 9 AS n_users,
                day / 10 + CASE method WHEN 'popular' THEN 0.01 WHEN 'own' THEN 0.02 ELSE 0.03 END
                    AS ndcg10,
                0.5 AS hit10, 0.25 AS coverage10, 0.75 AS gini10
            FROM range(2) d(day), unnest(['ads', 'posts']) s(surface),
                unnest(['all', 'new']) g(segment), unnest(['published', 'popular', 'own']) m(method)
            """
        )
    day = date(2025, 6, 2)
    figures = (0.13, 0.11, 0.12, 0.5, 0.25, 0.75)
    rows = [(*row[:3], *(round(float(figure), 2) for figure in row[3:]))
            for row in list_outcomes(database)]  # fmt: skip
    assert rows == [("ads", day, 9, *figures), ("posts", day, 9, *figures)]
