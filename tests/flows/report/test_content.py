"""What the night's page says of the model that scores texts."""

from __future__ import annotations

from flows.report.content import ContentModel

ON = {"name": "sentiment", "n_train": 6807, "n_judged": 398, "log_loss": 0.59437,
      "constant_log_loss": 0.974, "off": None}  # fmt: skip
OFF = {"name": "toxicity", "n_train": 3, "n_judged": 0, "log_loss": None,
       "constant_log_loss": None, "off": "3 labelled texts are fewer than 50"}  # fmt: skip


def test_heads_that_are_on_have_a_row_and_others_a_reason() -> None:
    model = ContentModel(
        {"model_id": "m", "as_of": "2025-11-20", "why": "it is the first", "heads": [ON, OFF]}
    )
    assert model.which == "The model as of 2025-11-20 scores: it is the first."
    assert model.rows == [("sentiment", "6,807", "398", "0.5944", "0.974")]
    assert len(model.names) == len(model.rows[0])
    assert model.off == {"toxicity": "3 labelled texts are fewer than 50"}


def test_a_night_whose_heads_are_all_off_says_so_and_one_that_asks_nothing_has_no_section() -> None:
    model = ContentModel({"model_id": "", "as_of": "2025-11-20", "why": "no head is on",
                          "heads": [OFF]})  # fmt: skip
    assert model.which == "No model scores: no head is on."
    assert model.rows == []
    assert model
    assert not ContentModel({})
