"""What a content model learns from, which heads are on, and when a new one takes over."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.content import LEARN_EVERY_DAYS, content_hash, cut_of
from contracts.content_specs import ContentHead
from contracts.source_tables.posts import POSTS
from models.content import cut_models
from models.content.clean_texts import CleanTexts
from models.content.cut_models import CutModel, chosen, fit_cut, labelled_as_of, load_cut
from models.content.text.examples import Texts
from tests.models.content.labelled_tables import CUT, WORDS, moods, row, write

MONTH = timedelta(days=LEARN_EVERY_DAYS)
SENTIMENT = (ContentHead("sentiment", "labels"),)
BEFORE = moods(CUT - 4 * MONTH, 4 * LEARN_EVERY_DAYS)
N_JUDGED = sum(
    int(content_hash(r["text"])[0], 16) % 2 for r in BEFORE if r["landed_on"] >= CUT - MONTH
)


def noise() -> list[dict[str, object]]:
    """Labels that say nothing of their texts, with other shares of classes in the newest month."""
    rng = random.Random(1)
    return [
        row(POSTS, CUT - timedelta(days=n), text=" ".join(rng.choices("abcdefgh", k=6)) + f" {n} {k}",
            labels=[f"sentiment={rng.choices(list(WORDS), [1, 1, 8 if n <= 28 else 1])[0]}"])
        for n in range(1, 113)
        for k in range(6)
    ]  # fmt: skip


NOISE = noise()


def texts_of(folder: Path, rows: list[dict[str, object]]) -> CleanTexts:
    return CleanTexts({POSTS.name: (write(folder, POSTS, rows),)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuts")


@pytest.fixture(scope="module")
def texts(folder: Path) -> CleanTexts:
    return texts_of(folder, BEFORE)


@pytest.fixture(scope="module")
def learnt(folder: Path, texts: CleanTexts) -> CutModel:
    fit_cut(CUT, texts, SENTIMENT, folder / "model")
    return load_cut(CUT, folder / "model")


def test_a_cut_is_a_fixed_day_whichever_night_asks() -> None:
    assert cut_of(CUT) == CUT
    assert {cut_of(CUT + timedelta(days=n)) for n in range(LEARN_EVERY_DAYS)} == {CUT}
    assert cut_of(CUT + MONTH) == CUT + MONTH


def test_a_head_with_labels_is_learnt_and_judged_by_the_newest(learnt: CutModel) -> None:
    (fit,) = learnt.fits
    assert (fit.off, fit.n_train, fit.n_judged) == (None, 9 * 28, N_JUDGED)
    assert fit.log_loss is not None
    assert fit.constant_log_loss is not None
    assert fit.log_loss < 0.5 < fit.constant_log_loss
    assert learnt.model is not None
    said = learnt.model.probabilities(Texts(["a lovely one", "awful", "the usual"]))["sentiment"]
    assert said.argmax(axis=1).tolist() == [2, 0, 1]


def test_nothing_that_lands_later_changes_a_cuts_model(learnt: CutModel, tmp_path: Path) -> None:
    later = [row(POSTS, CUT, text="lovely", labels=["sentiment=negative"]) for _ in range(50)]
    long_ago = moods(CUT - 40 * MONTH, 28, wrong=1)
    fit_cut(CUT, texts_of(tmp_path, [*later, *reversed(BEFORE), *long_ago]), SENTIMENT,
            tmp_path / "m")  # fmt: skip
    assert load_cut(CUT, tmp_path / "m").model_id == learnt.model_id


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (moods(CUT - 2 * MONTH, 16), "48 labelled texts are fewer than 50"),
        (moods(CUT - 2 * MONTH, 28),
         "of 0 newest labels of other texts 0 calibrate it and 0 judge it: it needs 10 of each"),
        ([r for r in BEFORE if "sentiment=neutral" in r["labels"]], "all labels are neutral"),
        (NOISE, "it is not surely better than the shares of its classes"),
        ([r | {"labels": ["sentiment=glad"]} for r in BEFORE],
         "0 labelled texts are fewer than 50"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_learnt_is_off_and_says_why(
    rows: list[dict[str, object]], why: str, tmp_path: Path
) -> None:
    said = fit_cut(CUT, texts_of(tmp_path, rows), SENTIMENT, tmp_path / "model")
    model = load_cut(CUT, tmp_path / "model")
    assert model.heads == ()
    assert [fit.off for fit in model.fits] == [why]
    assert said == f"sentiment is off: {why}"


def test_labels_that_are_more_than_a_heads_classes_are_no_classes(tmp_path: Path) -> None:
    rows = [r | {"labels": [f"topic={n}"]} for n, r in enumerate(BEFORE)]
    fit_cut(CUT, texts_of(tmp_path, rows), (ContentHead("topic", "labels"),), tmp_path / "model")
    (fit,) = load_cut(CUT, tmp_path / "model").fits
    assert fit.off == "252 classes are more than 64"


def test_the_new_model_scores_unless_it_is_surely_worse(
    learnt: CutModel, texts: CleanTexts, tmp_path: Path
) -> None:
    """Judged on what has landed since the one before: neither has learnt from it."""
    fit_cut(
        CUT, texts_of(tmp_path, moods(CUT - 4 * MONTH, 112, wrong=2)), SENTIMENT, tmp_path / "m"
    )
    worse = replace(load_cut(CUT, tmp_path / "m"), cut=CUT - MONTH)
    none = CutModel(CUT - MONTH, None, "", learnt.fits)

    assert chosen(CUT, texts, SENTIMENT, learnt, none) == (learnt, "it is the first")
    assert chosen(CUT, texts, SENTIMENT, learnt, worse) == (
        learnt,
        "it is not worse than the one before",
    )
    assert chosen(CUT, texts, SENTIMENT, worse, learnt) == (
        learnt, "a newer one is worse at sentiment"
    )  # fmt: skip
    off = replace(learnt, fits=tuple(replace(fit, off="too few") for fit in learnt.fits))
    assert chosen(CUT, texts, SENTIMENT, off, learnt) == (learnt, "a newer one lacks sentiment")
    assert chosen(CUT, texts, SENTIMENT, off, none) == (off, "no head is on")


def test_a_model_that_knows_a_class_less_is_judged_by_it_as_well(
    learnt: CutModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of other heads than the fixed ones come and go with their labels."""
    monkeypatch.setattr(cut_models, "MIN_HELD_OUT", 10)
    irony = (ContentHead("irony", "labels"),)
    said = {"negative": "yes", "neutral": "no", "positive": "perhaps"}

    def labelled(names: tuple[str, ...]) -> list[dict[str, object]]:
        return [
            r | {"labels": [f"irony={said[mood]}"]}
            for r in BEFORE
            for mood, words in WORDS.items()
            if r["text"].split()[0] in words.split() and said[mood] in names
        ]

    models = {}
    for n, names in enumerate((("yes", "no"), ("yes", "no", "perhaps"))):
        fit_cut(CUT, texts_of(tmp_path / str(n), labelled(names)), irony, tmp_path / f"m{n}")
        models[n] = load_cut(CUT, tmp_path / f"m{n}")
    now = texts_of(tmp_path / "now", labelled(("yes", "no", "perhaps")))
    assert chosen(CUT, now, irony, models[0], models[1])[1] == "a newer one is worse at irony"
    assert chosen(CUT, now, irony, models[1], models[0])[0] is models[1]


def test_a_text_counts_once_with_its_newest_label_and_judges_only_what_has_not_seen_it(
    tmp_path: Path,
) -> None:
    day = timedelta(days=1)
    since = CUT - MONTH

    def said(text: str, at: date, mood: str) -> dict[str, object]:
        return row(POSTS, at, text=text, labels=[f"sentiment={mood}"])

    rows = [
        said("a", since - 3 * day, "negative"), said("a", since - 2 * day, "positive"),
        said("a", since - 2 * day, "neutral"), said("b", since - day, "a=b"),
        *(said("a", since + day, "negative") for _ in range(9)),
        *(said("c", since + n * day, "positive") for n in range(3)),
    ]  # fmt: skip
    for ordered in (rows, rows[::-1]):
        known = labelled_as_of(CUT, texts_of(tmp_path, ordered), SENTIMENT)
        assert [(t.text, t.landed_on, dict(t.labels)) for t in known.train] == [
            ("b", since - day, {"sentiment": "a=b"}),
        ]
        held_out = [*known.calibration, *known.judged]
        assert [(t.text, t.landed_on) for t in sorted(held_out, key=lambda t: t.text)] == [
            ("a", since + day), ("c", since + 2 * day)
        ]  # fmt: skip


def test_a_head_with_many_labels_leaves_those_with_few_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_models, "MAX_EXAMPLES", 20)
    few = [row(POSTS, CUT - 2 * MONTH, text=f"few {n}", labels=["irony=no"]) for n in range(5)]
    both = (ContentHead("irony", "labels"), *SENTIMENT)
    train = labelled_as_of(CUT, texts_of(tmp_path, [*few, *BEFORE]), both).train
    assert sum("irony" in text.labels for text in train) == 5
    newest = [text for text in train if "sentiment" in text.labels]
    assert len(newest) == 20
    assert min(text.landed_on for text in newest) == CUT - MONTH - timedelta(days=7)
