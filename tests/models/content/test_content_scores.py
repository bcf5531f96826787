"""Days of `content_scores`: what was known before scores them, each text once."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.content import LEARN_EVERY_DAYS, content_hash
from contracts.content_specs import ContentDay, ContentHead, ContentScoresSpec
from contracts.source_tables.posts import POSTS
from models.content import content_scores
from models.content.content_scores import SCHEMA, score_days
from tests.models.content.labelled_tables import CUT, moods, row, write

ONE = timedelta(days=1)
MONTH = timedelta(days=LEARN_EVERY_DAYS)
BEFORE = moods(CUT - 4 * MONTH, 4 * LEARN_EVERY_DAYS)


def later(day: date, *texts: str | None) -> list[dict[str, Any]]:
    return [row(POSTS, day, text=text) for text in texts]


def asked(
    folder: Path, rows: list[dict[str, Any]], *days: date, out: str = "out", processes: int = 1
) -> ContentScoresSpec:
    cuts = {content_scores.cut_of(day) for day in days}
    return ContentScoresSpec(
        (ContentHead("sentiment", "labels"),),
        tuple(ContentDay(day, str(folder / out / f"{day}.parquet")) for day in days),
        {POSTS.name: (write(folder, POSTS, rows, out),)},
        {
            str(cut): str(folder / f"models-{processes}" / str(cut))
            for cut in cuts | {c - MONTH for c in cuts}
        },
        str(folder / f"scratch-{out}"),
        processes,
    )


def rows_of(spec: ContentScoresSpec) -> list[dict[str, Any]]:
    return [r for day in spec.days for r in pq.read_table(day.path, schema=SCHEMA).to_pylist()]


def test_each_text_is_scored_once_on_the_first_day_that_it_lands_since_the_cut(
    tmp_path: Path,
) -> None:
    rows = [
        *BEFORE,
        *later(CUT, "lovely things", "lovely things", "awful", None),
        *later(CUT + ONE, "awful", "the usual"),
        *later(CUT + 2 * ONE, None),
    ]
    spec = asked(tmp_path, rows, CUT, CUT + ONE, CUT + 2 * ONE)
    report = score_days(spec)
    found = {(r["landed_on"], r["content_hash"]): r for r in rows_of(spec)}
    assert sorted(found) == sorted(
        [
            (CUT, content_hash("lovely things")),
            (CUT, content_hash("awful")),
            (CUT + ONE, content_hash("the usual")),
        ]
    )
    of_awful = found[CUT, content_hash("awful")]
    assert of_awful["class"] == "negative"
    assert of_awful["classes"] == ["negative", "neutral", "positive"]
    assert math.isclose(sum(of_awful["probabilities"]), 1, rel_tol=1e-5)
    assert of_awful["probability"] == max(of_awful["probabilities"])
    said = report["days"][0]
    assert report["days"] == [said] * 3
    assert {r["model_id"] for r in found.values()} == {said["model_id"]}
    assert (said["as_of"], said["why"]) == (str(CUT), "it is not worse than the one before")
    assert [head["name"] for head in said["heads"]] == ["sentiment"]


def test_a_day_alone_has_the_rows_that_it_has_among_others(tmp_path: Path) -> None:
    """Also where a text had landed on a day before it since the cut."""
    rows = [*BEFORE, *later(CUT, "a", "awful"), *later(CUT + ONE, "awful", "lovely")]
    together = asked(tmp_path, rows, CUT, CUT + ONE)
    score_days(together)
    alone = asked(tmp_path, list(reversed(rows)), CUT + ONE, out="alone")
    score_days(alone)
    assert [r["content_hash"] for r in rows_of(alone)] == [content_hash("lovely")]
    assert rows_of(alone) == [r for r in rows_of(together) if r["landed_on"] == CUT + ONE]


def test_a_text_of_another_period_is_scored_by_its_model(tmp_path: Path) -> None:
    rows = [*BEFORE, *moods(CUT, LEARN_EVERY_DAYS), *later(CUT + MONTH, "awful")]
    spec = asked(tmp_path, [*rows, *later(CUT, "awful")], CUT, CUT + MONTH)
    first, second = score_days(spec)["days"]
    assert first["model_id"] != second["model_id"]
    of_awful = [r for r in rows_of(spec) if r["content_hash"] == content_hash("awful")]
    assert [(r["landed_on"], r["model_id"]) for r in of_awful] == [
        (CUT, first["model_id"]),
        (CUT + MONTH, second["model_id"]),
    ]


def test_without_a_head_a_day_has_no_rows(tmp_path: Path) -> None:
    spec = asked(tmp_path, later(CUT, "awful"), CUT)
    (said,) = score_days(spec)["days"]
    assert rows_of(spec) == []
    assert (said["model_id"], said["why"]) == ("", "no head is on")
    assert said["heads"][0]["off"] == "0 labelled texts are fewer than 50"


def test_one_that_was_killed_goes_on_and_trains_no_model_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*BEFORE, *later(CUT, "awful")]
    spec = asked(tmp_path, rows, CUT)
    write_rows: Callable[..., int] = content_scores._write
    with monkeypatch.context() as killed:
        killed.setattr(content_scores, "_write", _dies)
        with pytest.raises(KeyboardInterrupt):
            score_days(spec)
    monkeypatch.setattr(content_scores, "fit_cut", _dies)
    score_days(spec)
    assert len(rows_of(spec)) == 1
    assert content_scores._write is write_rows


def _dies(*_: object) -> int:
    raise KeyboardInterrupt


def test_how_many_processes_there_are_changes_no_row(tmp_path: Path) -> None:
    rows = [*BEFORE, *later(CUT, "awful", "a"), *moods(CUT + MONTH, 3)]
    days = (CUT, CUT + MONTH, CUT + MONTH + ONE)
    specs = [asked(tmp_path, rows, *days, out=f"out{n}", processes=n) for n in (1, 3)]
    reports = [score_days(spec) for spec in specs]
    assert reports[0] == reports[1]
    assert rows_of(specs[0]) == rows_of(specs[1])


def test_the_model_before_scores_on_where_the_new_one_has_lost_a_head(tmp_path: Path) -> None:
    """The page says what became of the new one."""
    spec = asked(tmp_path, [*BEFORE, *later(CUT + MONTH, "awful")], CUT + MONTH)
    (said,) = score_days(spec)["days"]
    assert (said["as_of"], said["why"]) == (str(CUT), "a newer one lacks sentiment")
    assert said["heads"][0]["off"].startswith("of 0 newest labels of other texts")
    assert [row["class"] for row in rows_of(spec)] == ["negative"]


def test_a_model_without_a_head_that_is_on_is_not_said_to_score(tmp_path: Path) -> None:
    """It was fitted, and is no better than the shares."""
    rows = [r | {"labels": [f"sentiment={m}"]} for r, m in zip(BEFORE, _moods(), strict=True)]
    spec = asked(tmp_path, [*rows, *later(CUT, "awful")], CUT)
    (said,) = score_days(spec)["days"]
    assert said["heads"][0]["off"] == "it is not surely better than the shares of its classes"
    assert (said["model_id"], rows_of(spec)) == ("", [])


def _moods() -> list[str]:
    return random.Random(2).choices(["negative", "positive"], k=len(BEFORE))
