"""What members beyond one network and one set of trees learn from, and how they are averaged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from contracts.specs import TrainSpec
from contracts.splits import USER_FOLDS
from contracts.tasks import task_named
from contracts.train_config import TrainConfig
from models.data.label_layout import Layout, in_cuts
from models.data.row_hashes import user_hashes
from models.network.heads import head_of
from models.training.multi_task import example_data, fit_encoder
from models.training.task_choice import Chosen, choose_tasks
from tests.bench.more_members import (
    COMBINATIONS,
    FOLDS,
    STUDENTS,
    MeanNetwork,
    OfFolds,
    StoredTeacher,
    TaughtExamples,
    by_fold,
    summary_of,
)
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

TASKS = tuple(task_named(name) for name in ("churn_28d", "view_7d"))
USERS = pa.table({"user_key": [f"user{i}" for i in range(40)]})


class Constant(nn.Module):
    """A network that says the same of every row."""

    def __init__(self, outputs: dict[str, list[float]]):
        super().__init__()
        self.heads = {task.name: head_of(task.kind, ()) for task in TASKS}
        self.layout, self.tasks = Layout(TASKS), TASKS
        self.outputs = outputs

    def forward(self, _: object) -> dict[str, Tensor]:
        return {name: torch.tensor([values]) for name, values in self.outputs.items()}


class OfModel:
    """A model that says its own number of every row."""

    def __init__(self, number: float):
        self.number = number

    def outputs(self, rows: pa.Table) -> dict[str, Tensor]:
        return {"churn_28d": torch.full((rows.num_rows, 1), self.number)}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    config = TrainConfig().changed(min_rows=20, id_buckets=32, batch_size=64, n_bins=4)
    files = write_examples(tmp_path_factory.mktemp("examples"), n=40)
    return TrainSpec(files, DAYS, NIGHT, 2, ("churn_28d", "view_7d"), config, "")


@pytest.fixture(scope="module")
def chosen(spec: TrainSpec) -> Chosen:
    return choose_tasks(spec)


def test_networks_are_averaged_on_the_scale_on_which_they_are_mixed_with_trees() -> None:
    one = Constant({"churn_28d": [-1.0], "view_7d": [0.5, 1.0]})
    other = Constant({"churn_28d": [4.0], "view_7d": [1.5, 0.0]})
    mean = MeanNetwork([one, other])(None)
    assert mean["churn_28d"].tolist() == [[1.5]]
    assert mean["view_7d"].tolist() == [[1.0, 0.5]]


def test_each_user_is_in_one_fold_and_taught_by_trees_that_have_not_seen_them(chosen) -> None:
    assert sorted(fold for folds in FOLDS for fold in folds) == list(range(USER_FOLDS))
    said = by_fold([OfModel(float(k)) for k in range(len(FOLDS))], USERS)["churn_28d"][:, 0]
    folds = user_hashes(USERS) % USER_FOLDS
    assert all(int(fold) in FOLDS[int(k)] for fold, k in zip(folds, said, strict=True))
    own = {name: getattr(chosen, name) for name in Chosen.__dataclass_fields__}
    others = OfFolds(**own, folds=frozenset(range(USER_FOLDS)) - FOLDS[0])
    day = chosen.splits["churn_28d"].train[0]
    rows = USERS.append_column("as_of", pa.array([day] * len(USERS), pa.date32()))
    learned = in_cuts(rows, [others.train_cuts["churn_28d"]])
    assert learned.tolist() == (~np.isin(folds, sorted(FOLDS[0]))).tolist()
    assert others.valid_cuts == chosen.valid_cuts


def test_what_a_teacher_says_of_a_row_stays_with_it_when_rows_are_shuffled(spec, chosen) -> None:
    def views(rows: pa.Table) -> dict[str, Tensor]:
        labels = rows["label_view_7d"].fill_null(-1).to_numpy().astype(np.float32)
        twice = torch.from_numpy(np.stack([labels, 2 * labels], axis=1))
        return {"churn_28d": twice[:, :1], "view_7d": twice}

    train = example_data(spec, chosen, fit_encoder(spec, chosen)).train
    batch = next(iter(TaughtExamples.of(train, views)))
    labels = batch.labels[:, chosen.layout.slices["view_7d"]].nan_to_num(-1)
    said = StoredTeacher(chosen.layout)(batch)
    assert len({*labels[:, 0].tolist()}) > 3
    assert said["churn_28d"].equal(labels)
    assert said["view_7d"].equal(torch.cat([labels, 2 * labels], dim=1))


def test_a_student_learns_from_a_combination_that_it_is_no_part_of() -> None:
    for student, teacher in STUDENTS.items():
        assert student not in COMBINATIONS[teacher][0]


def test_a_combination_has_means_of_bounded_shares_and_the_tasks_that_differ() -> None:
    lines = [
        {"task": "view_7d", "share": 9.0, "of_mixture": 1.0, "low": 0.1, "high": 0.2},
        {"task": "churn_28d", "share": 0.5, "of_mixture": 0.5, "low": -0.2, "high": -0.1},
    ]
    assert summary_of(lines) == {
        "tasks": 2, "mean_share": 1.0, "median_share": 1.0, "of_mixture": 0.75,
        "behind": ["churn_28d"], "ahead": ["view_7d"],
    }  # fmt: skip
