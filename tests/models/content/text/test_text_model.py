"""The text model: what it is sure of, what it ignores, and what is the same to the bit."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ContractError
from models.artifact.model import DamagedArtifact
from models.content.text.artifact import load_text_model, save_text_model, text_model_id
from models.content.text.cnn import CnnConfig
from models.content.text.convolutions import Shape
from models.content.text.examples import Examples, Head, Texts
from models.content.text.fit import TextConfig, fit_text_model
from models.content.text.model import TextModel
from models.content.text.ngrams import NGrams

MOOD = Head("mood", ("sad", "glad"))
STANCE = Head("stance", ("none", "against", "favour"))
HEADS = (MOOD, STANCE)
SMALL = Shape(bits=12, dimension=16, n_filters=8, widths=(1, 3))
CONFIG = TextConfig(
    NGrams(word_bits=12, character_bits=12),
    CnnConfig(SMALL, n_passes=10, batch=16, vector_learning_rate=0.03, dropout=0.1),
)
GLAD, SAD = ("lovely", "great", "happy"), ("awful", "terrible", "gloomy")


def examples(seed: int = 0, n: int = 120) -> Examples:
    """Texts whose mood is a word of theirs; every third is about rain or sun instead: who likes the
    one is against the other."""
    random = np.random.default_rng(seed)
    texts, targets, mood, stance = [], [], [], []
    for i in range(n):
        word, side = int(random.integers(2)), int(random.integers(2))
        about = ("rain", "sun")[side]
        if i % 3 == 0:
            texts.append(f"I want more umbrellas {random.integers(9)}")
            targets.append(about)
            mood.append(-1)
            stance.append((2, 1)[side])
        else:
            texts.append(f"what a {random.choice((SAD, GLAD)[word])} day {random.integers(9)}")
            targets.append("")
            mood.append(word)
            stance.append(-1 if i % 2 else 0)
    labels = {"mood": np.array(mood), "stance": np.array(stance)}
    return Examples(Texts(texts, targets), labels)


@pytest.fixture(scope="module")
def model() -> TextModel:
    return fit_text_model(HEADS, examples(), examples(1), CONFIG)


def test_it_learns_the_words_of_a_mood_and_that_a_target_changes_the_stance(
    model: TextModel,
) -> None:
    found = model.probabilities(
        Texts(
            ["a great day", "a gloomy day", "more umbrellas", "more umbrellas"],
            ["", "", "rain", "sun"],
        )
    )

    assert found["mood"][:2].argmax(axis=1).tolist() == [1, 0]
    assert found["stance"][2:].argmax(axis=1).tolist() == [2, 1]
    np.testing.assert_allclose(found["stance"].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("member", ["linear", "cnn"])
def test_each_member_alone_learns_words_and_targets(model: TextModel, member: str) -> None:
    held_out = examples(5)
    found = model.alone(member).probabilities(held_out.texts)

    for head in HEADS:
        rows, labels = held_out.labelled(head), held_out.of(head)
        assert (found[head.name].argmax(axis=1)[rows] == labels[rows]).mean() > 0.95


def test_the_model_is_the_mean_of_its_calibrated_members(model: TextModel) -> None:
    texts = examples(6).texts
    members = [np.log(model.alone(name).probabilities(texts)["mood"]) for name in model.members]
    mean = np.mean(members, axis=0, dtype=np.float64).astype(np.float32)
    expected = np.exp(model.calibrations["mood"].log_probabilities(mean))

    assert list(model.members) == ["linear", "cnn"]
    np.testing.assert_allclose(model.probabilities(texts)["mood"], expected, atol=1e-5)


def test_two_fits_are_the_same_to_the_bit(model: TextModel) -> None:
    again = fit_text_model(HEADS, examples(), examples(1), CONFIG)

    assert text_model_id(again) == text_model_id(model)


def test_labels_of_one_head_change_nothing_of_another_in_the_linear_member(
    model: TextModel,
) -> None:
    """They do count among the texts in which n-grams are rare, so that there are as many."""
    train = examples()
    turned = np.where(
        train.labels["stance"] > 0, 3 - train.labels["stance"], train.labels["stance"]
    )
    other = Examples(train.texts, {**train.labels, "stance": turned})
    turned_model = fit_text_model(HEADS, other, examples(1), CONFIG)
    found = turned_model.alone("linear").probabilities(train.texts)

    np.testing.assert_array_equal(
        found["mood"], model.alone("linear").probabilities(train.texts)["mood"]
    )


def test_the_order_of_texts_and_what_stands_beside_them_change_nothing(model: TextModel) -> None:
    texts = examples(2, 1025).texts
    whole = model.probabilities(texts)["mood"]
    backwards = Texts(texts.texts[::-1], (texts.targets or [])[::-1])

    np.testing.assert_array_equal(model.probabilities(backwards)["mood"][::-1], whole)
    np.testing.assert_array_equal(model.probabilities(texts[1024:])["mood"], whole[1024:])


def test_no_text_no_word_and_one_text(model: TextModel) -> None:
    assert model.probabilities(Texts([]))["stance"].shape == (0, 3)
    blank = model.probabilities(Texts(["", " \t", "\u200b", "\ud800"]))["mood"]
    assert blank.shape == (4, 2)
    assert np.isfinite(blank).all()
    np.testing.assert_array_equal(blank[0], blank[1])


def test_what_is_saved_is_what_is_loaded(model: TextModel, tmp_path: Path) -> None:
    saved = save_text_model(model, tmp_path)
    loaded = load_text_model(tmp_path)
    texts = examples(3).texts

    assert text_model_id(loaded) == saved == text_model_id(model)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    for head in HEADS:
        np.testing.assert_array_equal(
            loaded.probabilities(texts)[head.name], model.probabilities(texts)[head.name]
        )


def test_a_changed_byte_is_a_damaged_artifact(model: TextModel, tmp_path: Path) -> None:
    save_text_model(model, tmp_path)
    path = tmp_path / "linear.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(DamagedArtifact) as error:
        load_text_model(tmp_path)
    assert str(error.value) == f"{tmp_path}: the text model is not what was saved; fit it anew"


def test_a_class_that_a_head_does_not_have_is_an_error() -> None:
    train = Examples(Texts(["a", "b"]), {"mood": np.array([0, 2])})
    with pytest.raises(ContractError) as error:
        fit_text_model((MOOD,), train, train, CONFIG)
    assert (
        str(error.value) == "head mood: expected classes 0 to 1, or -1 for a missing label, found 2"
    )


def test_a_head_with_labels_of_one_class_is_an_error() -> None:
    train = Examples(Texts(["a", "b"]), {"mood": np.array([1, -1])})
    with pytest.raises(ContractError) as error:
        fit_text_model((MOOD,), train, train, CONFIG)
    assert str(error.value) == "head mood: labels of 1 classes; it needs two to learn from"


def test_it_fits_and_predicts_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    train = examples(4, 30)
    fit_text_model(HEADS, train, train, CONFIG).probabilities(train.texts)
