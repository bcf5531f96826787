"""Specs that cross to a process as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from contracts.content_specs import ContentDay, ContentHead, ContentScoresSpec, ExplainContentSpec
from contracts.errors import ContractError
from contracts.ranking_config import RankingConfig
from contracts.spec_json import decode, encode
from contracts.specs import (
    DatasetSpec,
    ExplainSpec,
    JobSpec,
    LateDataSpec,
    MlflowRunSpec,
    RankDay,
    RankInputs,
    RankSpec,
    RecOutcomesDay,
    RecOutcomesSpec,
    RetrieveDay,
    RetrieveSpec,
    ScoreboardDay,
    ScoreboardSpec,
    ScoreDay,
    ScoreDaysSpec,
    Spec,
    TableDay,
    TableSpec,
    TrainSpec,
    TuneSpec,
)
from contracts.surfaces import SURFACES
from contracts.train_config import TrainConfig

DAY = date(2025, 6, 1)
TRAIN = TrainSpec(
    files=("a.parquet", "b.parquet"),
    as_ofs=(date(2025, 3, 1), date(2025, 3, 15)),
    known_until=DAY,
    settle_days=2,
    tasks=("purchase_7d",),
    config=TrainConfig(),
    folder="out",
    first_as_of={"purchase_7d": date(2025, 2, 1)},
    champion_withheld={"churn_28d": "it loses to the constant"},
    run=MlflowRunSpec(
        "tests", "file:///a", "one", (DatasetSpec("examples", "7", "/lake"),), {"a": "b"}
    ),
)
SCORE = ScoreDay(("f.parquet",), DAY, None, "r1", "s.parquet", "scratch", withheld={"a": "why"})
BEFORE = RankInputs(date(2025, 5, 2), ("i",), ("h",), ("p",), ("c",), ("r",), ("f",))
RANK = RankDay(
    replace(BEFORE, as_of=DAY), (BEFORE,), ("n",), None, "out", "r1", "l.parquet", "scratch"
)
SPECS = (
    TRAIN,
    ContentScoresSpec(
        (ContentHead("irony", "labels"), ContentHead("sentiment", "stars")),
        (ContentDay(DAY, "c.parquet"),),
        {"posts": ("p",)},
        {"2025-01-16": "m"},
        "scratch",
    ),
    replace(TRAIN, run=None, first_as_of={}, champion="m", checkpoints="c", single_task_twins=True),
    ExplainContentSpec("c" * 64, DAY, {"posts": ("p",)}, "m", ("f",)),
    ScoreDaysSpec((SCORE, replace(SCORE, model="m", failed_tasks="base_rate")), processes=3),
    ScoreboardSpec((ScoreboardDay(DAY, ("s",), ("l",), ("f",), ("purchase_7d",)),)),
    TableSpec("rankings", (TableDay(DAY, {"user_features": ("f",)}, "r1", "t.parquet"),)),
    LateDataSpec(("was",), ("now",), ("l",), ("purchase_7d",)),
    ExplainSpec("row", ("b",), "m", {"a": "why"}, n=5),
    TuneSpec(TRAIN, "sqlite:///tune.db", "name", 60.0, 10),
    RetrieveSpec(
        SURFACES, (RetrieveDay(DAY, ("i",), ("h",), "r.parquet", "scratch"),), RankingConfig()
    ),
    RankSpec(SURFACES, (RANK, replace(RANK, champion="c")), RankingConfig(factors=8)),
    RecOutcomesSpec(
        SURFACES,
        (RecOutcomesDay(DAY, ("l",), ("i",), ("h",), ("f",), ("n",), ("products",)),),
    ),
)


JOB = JobSpec({"landed": ("f",)}, (DAY,), "out", "m.toml", DAY, 2)


@pytest.mark.parametrize(
    "spec", [*SPECS, JOB, replace(JOB, raw="raw")], ids=lambda spec: type(spec)
)
def test_a_spec_is_read_as_it_was_written(spec: Spec | JobSpec) -> None:
    assert decode(type(spec), encode(spec)) == spec


def test_every_spec_has_a_command_of_its_own() -> None:
    assert {type(spec) for spec in SPECS} == set(Spec.__subclasses__())
    commands = [kind.command for kind in Spec.__subclasses__()]
    assert len(set(commands)) == len(commands)


def test_everything_that_is_wrong_with_a_spec_is_named_at_once() -> None:
    raw = json.loads(encode(ScoreDaysSpec((SCORE, SCORE))))
    first, second = raw["days"]
    del first["path"], raw["processes"]
    first |= {"as_of": "yesterday", "accelerator": "abacus", "withheld": {"a": 1}}
    second |= {"paths": [], "files": "f.parquet", "threads": True}
    with pytest.raises(ContractError) as error:
        decode(ScoreDaysSpec, json.dumps(raw))
    assert str(error.value) == (
        "ScoreDaysSpec breaks its contract:\n"
        "  days[0].as_of: expected date, found 'yesterday'\n"
        "  days[0].path: expected str, found nothing\n"
        "  days[0].accelerator: expected one of auto, cpu, gpu, found 'abacus'\n"
        "  days[0].withheld.a: expected str, found 1\n"
        "  days[1].paths: no such field\n"
        "  days[1].files: expected a list, found 'f.parquet'\n"
        "  days[1].threads: expected int, found True"
    )


def test_a_spec_that_is_no_object_or_no_json_is_refused() -> None:
    with pytest.raises(ContractError) as error:
        decode(ExplainSpec, "[]")
    assert str(error.value) == (
        "ExplainSpec breaks its contract:\n  all of it: expected an object, found []"
    )
    with pytest.raises(ContractError) as error:
        decode(ExplainSpec, "{")
    assert str(error.value).startswith("ExplainSpec is not JSON: Expecting property name")


def test_what_json_cannot_say_is_not_written() -> None:
    with pytest.raises(ContractError) as error:
        encode(ExplainSpec("row", ("b",), "m", {"a": {1}}))  # type: ignore[dict-item]
    assert str(error.value) == "a spec holds set, which JSON cannot say: {1}"


def test_settings_in_a_spec_are_checked_as_anywhere() -> None:
    raw = json.loads(encode(TRAIN))
    raw["config"]["network"]["width"] = 0
    with pytest.raises(ContractError) as error:
        decode(TrainSpec, json.dumps(raw))
    assert str(error.value) == "train.network.width: expected 1 or more, found 0"
