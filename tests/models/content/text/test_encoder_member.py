"""A text model with a third member, over the vectors of an encoder in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ContractError
from models.content.encoders.text_encoder import TextEncoder, load_text_encoder
from models.content.text.artifact import load_text_model, save_text_model
from models.content.text.cnn import CnnConfig
from models.content.text.convolutions import Shape
from models.content.text.examples import Examples, Head, Texts
from models.content.text.fit import TextConfig, fit_text_model
from models.content.text.model import TextModel
from models.content.text.ngrams import NGrams
from tests.models.content.encoders.tiny_encoders import write_encoder

HEADS = (Head("mood", ("bad", "good", "unheard of")), Head("stance", ("against", "favour")))


def examples() -> Examples:
    """Good and bad news; who likes good news is against bad."""
    texts = ["good news", "bad news", "the good day", "the bad day", "news", "news"] * 6
    targets = ["", "", "", "", "good", "bad"] * 6
    labels = {
        "mood": np.array([1, 0, 1, 0, -1, -1] * 6),
        "stance": np.array([-1, -1, -1, -1, 1, 0] * 6),
    }
    return Examples(Texts(texts, targets), labels)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = write_encoder(tmp_path_factory.mktemp("encoder"))
    return load_text_encoder(folder, precision="fp32")


@pytest.fixture(scope="module")
def model(encoder: TextEncoder) -> TextModel:
    small = CnnConfig(Shape(bits=8, dimension=4, n_filters=2, widths=(1,)), n_passes=1)
    config = TextConfig(NGrams(word_bits=8, character_bits=8), small, encoder)
    return fit_text_model(HEADS, examples(), examples(), config)


def test_the_encoder_is_a_member_that_learns_words_and_targets(model: TextModel) -> None:
    found = model.alone("encoder").probabilities(examples().texts)

    assert list(model.members) == ["linear", "cnn", "encoder"]
    assert found["mood"][:4].argmax(axis=1).tolist() == [1, 0, 1, 0]
    assert found["stance"][4:6].argmax(axis=1).tolist() == [1, 0]
    assert found["mood"][:, 2].max() < 0.01


def test_a_model_is_loaded_with_its_encoder(
    model: TextModel, encoder: TextEncoder, tmp_path: Path
) -> None:
    save_text_model(model, tmp_path)
    texts = examples().texts

    np.testing.assert_array_equal(
        load_text_model(tmp_path, encoder).probabilities(texts)["mood"],
        model.probabilities(texts)["mood"],
    )
    with pytest.raises(ContractError) as error:
        load_text_model(tmp_path)
    assert str(error.value) == (
        f"the text model was fitted on the encoder {encoder.encoder_id}, given is none; give that "
        "encoder or fit the model anew"
    )
