"""Vectors of texts by encoders in folders."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from contracts.errors import ContractError
from models.content.encoders.bert import relative_buckets
from models.content.encoders.text_encoder import TextEncoder, load_text_encoder
from tests.models.content.encoders.tiny_encoders import (
    LAYERS,
    WORDS,
    D,
    config_of,
    table,
    write_encoder,
    write_json,
    write_onnx,
)

REFERENCE = {
    "bert": [0.25465, -0.20142, -0.04507, 0.06364, 0.18185, -0.57693, 0.05546, -1.04018],
    "roberta": [0.25471, -0.1996, -0.04561, 0.05665, 0.18293, -0.57958, 0.0538, -1.04522],
    "xlm-roberta": [0.25471, -0.1996, -0.04561, 0.05665, 0.18293, -0.57958, 0.0538, -1.04522],
    "distilbert": [1.96298, -0.94327, 0.26105, -0.36937, 0.2797, -0.48073, 0.87214, 0.7693],
    "mpnet": [0.63308, -0.18709, -1.2988, -0.26995, 0.0715, -0.06968, 0.43878, 0.274],
}
"""The mean over the tokens of `TEXT` by the models' reference, transformers 5.24."""
TEXT = "good news of the day"
pytestmark = pytest.mark.usefixtures("no_network")


def some_texts(n: int, seed: int = 0) -> list[str]:
    """Of 0 to 30 words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS[4:], k=rng.randint(0, 30))) for _ in range(n)]


def load(folder: Path, precision: str | None = "fp32") -> TextEncoder:
    return load_text_encoder(folder, precision=precision)


@pytest.mark.parametrize("model_type", REFERENCE)
def test_each_architecture_computes_what_its_reference_does(
    tmp_path: Path, model_type: str
) -> None:
    encoder = load(write_encoder(tmp_path, model_type))
    assert encoder.dimension == D
    (vector,) = encoder.encode([TEXT])
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, REFERENCE[model_type], atol=2e-5)


def test_mpnet_counts_positions_and_distances_of_a_long_text_as_its_reference_does(
    tmp_path: Path,
) -> None:
    words = " ".join([*WORDS[4:] * 6])
    (vector,) = load(write_encoder(tmp_path, "mpnet")).encode([words])
    reference = [0.59989, -0.14866, -1.43588, -0.28115, 0.06037, 0.00552, 0.21472, 0.23354]
    np.testing.assert_allclose(vector, reference, atol=2e-5)
    other = load(write_encoder(tmp_path, "mpnet", pad_token_id=5)).encode([words])[0]
    np.testing.assert_array_equal(other, vector)


def test_distances_fall_into_buckets_that_grow_with_their_logarithm() -> None:
    """Those of Raffel et al. (2020), with 32 buckets: what stands before has the first 16."""
    begins = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
    buckets = relative_buckets(400, 32)
    for distance in range(400):
        bucket = max(i for i, begin in enumerate(begins) if begin <= distance)
        assert (buckets.diagonal(-distance) == bucket).all()
        assert (buckets.diagonal(distance) == (bucket + 16 if distance else 0)).all()


def test_tensors_of_a_model_with_a_head_are_found_under_their_prefix(tmp_path: Path) -> None:
    encoder = load(write_encoder(tmp_path, prefix="bert."))
    np.testing.assert_allclose(encoder.encode([TEXT])[0], REFERENCE["bert"], atol=2e-5)


def test_a_vector_is_the_mean_the_first_or_the_largest_of_its_tokens(tmp_path: Path) -> None:
    vectors = {
        pooling: load(write_encoder(tmp_path / pooling, pooling=pooling)).encode([TEXT])[0]
        for pooling in ("mean", "cls", "max")
    }
    assert (vectors["max"] > vectors["mean"]).all()
    assert (vectors["max"] >= vectors["cls"]).all()
    assert (vectors["cls"] != vectors["mean"]).all()


def test_vectors_have_length_one_where_the_folder_normalizes(tmp_path: Path) -> None:
    plain = load(write_encoder(tmp_path / "plain")).encode([TEXT])
    normalized = load(write_encoder(tmp_path / "normalized", normalize=True)).encode([TEXT])
    np.testing.assert_allclose(normalized, plain / np.linalg.norm(plain), rtol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "onnx"])
def test_a_vector_is_the_same_to_the_bit_whatever_is_encoded_beside_it(
    tmp_path: Path, precision: str
) -> None:
    encoder = (
        load(write_onnx(tmp_path), None)
        if precision == "onnx"
        else load(write_encoder(tmp_path), precision)
    )
    texts = some_texts(300)
    vectors = encoder.encode(texts)
    order = random.Random(1).sample(range(300), 77)
    np.testing.assert_array_equal(encoder.encode([texts[i] for i in order]), vectors[order])
    for i in order[:10]:
        np.testing.assert_array_equal(encoder.encode([texts[i]]), vectors[i : i + 1])


def test_a_text_without_words_is_zeros_and_no_texts_are_no_rows(tmp_path: Path) -> None:
    encoder = load(write_encoder(tmp_path, normalize=True))
    vectors = encoder.encode(["", " \n\t", TEXT])
    assert not vectors[:2].any()
    assert vectors[2].any()
    assert encoder.encode([]).shape == (0, D)


def test_texts_are_cut_at_the_length_of_the_folder_not_at_that_of_the_tokenizer(
    tmp_path: Path,
) -> None:
    folder = write_encoder(tmp_path)
    words = [*WORDS[4:], *WORDS[4:], *WORDS[4:]]
    longest, longer, shorter = (" ".join(words[:n]) for n in (14, 15, 13))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 16})
    vectors = load(folder).encode([longest, longer, shorter])  # with [CLS] and [SEP] 16 tokens
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert (vectors[0] != vectors[2]).any()


def test_without_a_length_texts_are_cut_where_positions_end(tmp_path: Path) -> None:
    vectors = load(write_encoder(tmp_path)).encode(["good " * 38, "good " * 50, "good " * 37])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert (vectors[0] != vectors[2]).any()


def test_what_the_folder_puts_before_texts_or_sets_in_lower_case_is_done(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    plain = load(folder)
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "of the ", "none": ""}, "default_prompt_name": "query"},
    )
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    encoder = load(folder)
    np.testing.assert_array_equal(encoder.encode(["Day", ""]), plain.encode(["of the day", ""]))
    assert encoder.encoder_id != plain.encoder_id


@pytest.mark.parametrize("external", [False, True])
def test_a_graph_is_computed_by_onnx_runtime(tmp_path: Path, external: bool) -> None:
    encoder = load(write_onnx(tmp_path, external=external), None)
    assert encoder.dimension == D
    tokens = [1, *(WORDS.index(word) for word in TEXT.split()), 2]
    vectors = encoder.encode([TEXT, "", "day " * 50])
    np.testing.assert_allclose(vectors[0], table()[tokens].mean(axis=0), rtol=1e-5)
    assert not vectors[1].any()
    cut = table()[[1, *[WORDS.index("day")] * 18, 2]].mean(axis=0)  # 20 tokens at most
    np.testing.assert_allclose(vectors[2], cut, rtol=1e-5)


def test_bf16_is_near_fp32_and_another_encoder(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, normalize=True)
    fp32, bf16 = load(folder, "fp32"), load(folder, "bf16")
    texts = [text for text in some_texts(50) if text]
    cosines = (fp32.encode(texts) * bf16.encode(texts)).sum(axis=1)
    assert 0.99 < cosines.min() < 0.999999
    assert fp32.encoder_id != bf16.encoder_id


def test_how_many_threads_the_process_has_stays_as_it_was(tmp_path: Path) -> None:
    encoder, before = load(write_encoder(tmp_path)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.encode([TEXT])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_id_is_of_what_the_files_hold_not_of_where_they_lie(tmp_path: Path) -> None:
    first, second = write_encoder(tmp_path / "first"), write_encoder(tmp_path / "second")
    (second / "README.md").write_text("Of no account.")
    config = json.loads((second / "config.json").read_text())
    write_json(second / "config.json", {**config, "_name_or_path": "elsewhere"})
    assert load(first).encoder_id == load(second).encoder_id
    assert len(load(first).encoder_id) == 64


def test_one_byte_of_weights_or_tokenizer_or_one_setting_is_another_encoder(
    tmp_path: Path,
) -> None:
    ids = [load(write_encoder(tmp_path / "plain")).encoder_id]
    flip_a_byte(write_encoder(tmp_path / "weights") / "model.safetensors")
    path = write_encoder(tmp_path / "tokenizer") / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    write_encoder(tmp_path / "pooling", pooling="cls")
    write_encoder(tmp_path / "normalize", normalize=True)
    write_encoder(tmp_path / "eps", layer_norm_eps=1e-6)
    write_json(
        write_encoder(tmp_path / "length") / "pooling.json", {"pooling": "mean", "max_length": 9}
    )
    names = ("weights", "tokenizer", "pooling", "normalize", "eps", "length")
    ids += [load(tmp_path / name).encoder_id for name in names]
    assert len(set(ids)) == 7


def test_one_byte_of_a_graph_or_of_the_tensors_beside_it_is_another_encoder(
    tmp_path: Path,
) -> None:
    ids = {load(write_onnx(tmp_path, external=True), None).encoder_id}
    flip_a_byte(tmp_path / "table.bin")
    ids.add(load(tmp_path, None).encoder_id)
    write_onnx(tmp_path)
    ids.add(load(tmp_path, None).encoder_id)
    assert len(ids) == 3


def refusal(folder: Path, precision: str | None = None) -> str:
    """Why a folder is not loaded, without its path."""
    with pytest.raises(ContractError) as error:
        load_text_encoder(folder, precision=precision)
    return str(error.value).replace(str(folder), "FOLDER")


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert refusal(folder) == (
        "FOLDER: pickled weights are not opened, for opening them runs code; convert them to "
        "model.safetensors (save_pretrained with safe_serialization=True) or model.onnx"
    )


def test_code_of_the_folders_own_is_not_run(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, auto_map={"AutoModel": "modeling.Model"})
    assert refusal(folder) == (
        "config.json names code of the model's own (auto_map), which is never run; export the "
        "model to model.onnx"
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"model_type": "t5"},
            "model_type 't5' is not supported with model.safetensors; known are bert, roberta, "
            "xlm-roberta, distilbert, mpnet. Export any other model to model.onnx",
        ),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key' is not supported, only 'absolute' is; export "
            "the model to model.onnx",
        ),
        (
            {"hidden_act": "swish"},
            "hidden_act 'swish' is not supported; known are gelu, gelu_new, gelu_pytorch_tanh, "
            "relu, silu. Export the model to model.onnx",
        ),
    ],
    ids=["model_type", "positions", "activation"],
)
def test_other_architectures_are_refused_with_what_is_known(
    tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    folder = write_encoder(tmp_path)
    write_json(folder / "config.json", config_of("bert") | config)
    assert refusal(folder) == f"config.json: {reason}"


def test_a_missing_file_or_setting_is_named(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "none") == "FOLDER is no folder: name one that holds an encoder's files"
    )
    assert refusal(tmp_path) == "FOLDER: expected model.safetensors or model.onnx, found neither"
    folder = write_encoder(tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    del config["num_attention_heads"]
    write_json(folder / "config.json", config)
    assert refusal(folder) == "config.json: expected num_attention_heads, found no such setting"
    (folder / "1_Pooling" / "config.json").unlink()
    assert refusal(folder) == (
        "FOLDER: expected pooling.json or 1_Pooling/config.json, found neither; write "
        'pooling.json, such as {"pooling": "mean", "normalize": true}. Known are mean, cls, max'
    )
    (folder / "tokenizer.json").unlink()
    assert refusal(folder) == (
        "FOLDER: expected tokenizer.json, found none; the tokenizer of the model saves it "
        "(save_pretrained of a fast tokenizer)"
    )
    (folder / "config.json").unlink()
    assert refusal(folder) == "FOLDER: expected config.json beside model.safetensors"


def test_other_poolings_and_modules_are_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True})
    assert refusal(folder) == (
        "FOLDER: expected one pooling of mean, cls, max, found pooling_mode_lasttoken; export the "
        "model as a whole to model.onnx"
    )
    write_json(folder / "modules.json", [{"type": "sentence_transformers.models.Dense"}])
    assert refusal(folder) == (
        "FOLDER/modules.json: modules Dense are not supported; known are Transformer, Pooling, "
        "Normalize. Export the model as a whole to model.onnx"
    )


def test_tensors_that_lack_or_have_no_place_are_named(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    adapter = {"encoder.layer.0.adapter.weight": np.zeros(1, np.float32)}
    save_file(tensors | adapter, folder / "model.safetensors")
    assert refusal(folder) == (
        "model.safetensors: tensor 'encoder.layer.0.adapter.weight' has no place in model_type "
        "'bert'; export the model to model.onnx"
    )
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / "model.safetensors")
    assert refusal(folder) == (
        "model.safetensors: expected tensor 'encoder.layer.1.output.dense.bias', found none"
    )


def test_a_graph_is_not_computed_in_another_precision(tmp_path: Path) -> None:
    assert refusal(write_onnx(tmp_path), "bf16") == (
        "FOLDER/model.onnx computes in what it was written for: leave precision out, or give the "
        "folder model.safetensors"
    )


def test_tensors_of_a_graph_lie_beside_it(tmp_path: Path) -> None:
    write_onnx(tmp_path, external=True)
    graph = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(graph.replace(b"table.bin", b"../ab.bin"))
    assert refusal(tmp_path) == (
        "FOLDER/model.onnx: expected its tensors in '../ab.bin' beside it, found no such file"
    )


def test_the_references_are_of_all_architectures() -> None:
    assert set(REFERENCE) == set(LAYERS)
