"""Which words made a text what it was taken for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from contracts.content import LEARN_EVERY_DAYS, content_hash
from contracts.content_specs import ContentHead, ExplainContentSpec
from contracts.errors import ContractError
from contracts.source_tables.posts import POSTS
from models.content.clean_texts import CleanTexts
from models.content.cut_models import fit_cut, load_cut
from models.content.explain_text import MAX_WORDS, explain_text
from tests.models.content.labelled_tables import CUT, moods, row, write

TEXT = "my lovely lamp"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ExplainContentSpec:
    folder = tmp_path_factory.mktemp("explained")
    before = moods(CUT - timedelta(days=4 * LEARN_EVERY_DAYS), 4 * LEARN_EVERY_DAYS)
    texts = CleanTexts({POSTS.name: (write(folder, POSTS, before, "before"),)})
    fit_cut(CUT, texts, (ContentHead("sentiment", "labels"),), folder / "model")
    fit_cut(CUT, texts, (ContentHead("topic", "labels"),), folder / "other")
    assert [head.name for head in load_cut(CUT, folder / "model").heads] == ["sentiment"]
    rows = [row(POSTS, CUT, text=t) for t in (TEXT, "awful", "so " * (MAX_WORDS + 5))]
    return ExplainContentSpec(
        content_hash(TEXT),
        CUT,
        {POSTS.name: (write(folder, POSTS, rows),)},
        load_cut(CUT, folder / "model").model_id,
        (str(folder / "other"), str(folder / "model")),
    )


def test_the_word_that_says_it_has_the_largest_effect(spec: ExplainContentSpec) -> None:
    report = explain_text(spec)
    assert report["words"] == TEXT.split()
    (said,) = report["heads"]
    assert (said["head"], said["class"]) == ("sentiment", "positive")
    assert said["probability"] > 0.5
    assert max(said["effects"]) == said["effects"][1] > 1


def test_a_long_text_is_explained_as_far_as_it_is_affordable(spec: ExplainContentSpec) -> None:
    asked = {**vars(spec), "content_hash": content_hash("so " * (MAX_WORDS + 5))}
    report = explain_text(ExplainContentSpec(**asked))
    assert len(report["words"]) == len(report["heads"][0]["effects"]) == MAX_WORDS


def test_what_is_not_kept_any_more_is_said(spec: ExplainContentSpec) -> None:
    with pytest.raises(ContractError, match="no clean table has that text any more"):
        explain_text(ExplainContentSpec(**{**vars(spec), "content_hash": content_hash("gone")}))
    with pytest.raises(ContractError, match="the model 1234 that scored the text is not kept"):
        explain_text(ExplainContentSpec(**{**vars(spec), "model_id": "1234"}))


def test_a_head_that_is_off_explains_nothing(spec: ExplainContentSpec) -> None:
    heads = Path(spec.models[1], "heads.json")
    kept = heads.read_text()
    heads.write_text(kept.replace('"off": null', '"off": "it is not surely better"'))
    assert explain_text(spec)["heads"] == []
    heads.write_text(kept)
