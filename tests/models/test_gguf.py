"""GGUF files: read once into the cache, equal to what was written, and refused when damaged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from honed.errors import ModelError
from honed.models import cache, gguf_llama, load
from honed.models import gguf as files
from tests.tiny import END, PAD, START, TEMPLATE, tiny_model, tiny_tokenizer


def neighbours(weight: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows in which GGUF keeps query and key weights."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def write(
    path: Path,
    *,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    name: str = "tiny",
    more: Callable[[gguf.GGUFWriter], None] = lambda _: None,
) -> Path:
    """Write the tiny model, as llama.cpp's converter would, in blocks of ``kind``, with ``more``."""
    model = tiny_model(tied=False)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols[5] = "ab"  # a merge, since a file without any can't be written
    writer.add_token_list([*symbols, START, END, PAD])
    writer.add_token_types([1] * 256 + [3] * 3)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(257)
    writer.add_pad_token_id(257)
    writer.add_chat_template(TEMPLATE)
    names = {ours: theirs for theirs, ours in gguf_llama._OUTER.items()}
    for number in range(2):
        for theirs, ours in gguf_llama._INNER.items():
            names[f"model.layers.{number}.{ours}.weight"] = f"blk.{number}.{theirs}.weight"
    for ours, tensor in model.state_dict().items():
        theirs, values = names[ours], tensor.numpy()
        if "attn_q" in theirs or "attn_k" in theirs:
            values = neighbours(values, 4 if "attn_q" in theirs else 2)
        packed = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(theirs, gguf.quantize(values, packed), raw_dtype=packed)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(40)[None]).logits


def test_a_gguf_file_gives_the_weights_that_were_written(tmp_path: Path) -> None:
    loaded = load.load(str(write(tmp_path / "tiny.gguf")), None)
    torch.testing.assert_close(logits(loaded.model), logits(tiny_model(tied=False)), rtol=0, atol=1e-6)
    assert (loaded.chat.template, loaded.chat.stop_ids, loaded.context) == (TEMPLATE, {257}, 512)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    found = load.locate(str(path), None)
    assert found.hash == cache.file_hash(path)
    assert not list(found.folder.glob("*.gguf"))


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0])
def test_the_straight_way_and_the_general_way_read_the_same(
    tmp_path: Path, kind: gguf.GGMLQuantizationType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tiny.gguf", kind=kind)
    straight, general = tmp_path / "straight", tmp_path / "general"
    straight.mkdir()
    files._convert(path, straight)
    monkeypatch.setattr(gguf_llama, "convert", lambda *_: False)
    general.mkdir()
    files._convert(path, general)
    one, other = load.load(str(straight), None), load.load(str(general), None)
    assert torch.equal(logits(one.model), logits(other.model))
    assert one.chat.hash == other.chat.hash
    assert one.context == other.context


def test_a_file_that_is_more_than_plain_llama_goes_the_general_way(tmp_path: Path) -> None:
    assert not gguf_llama.convert(gguf_llama.read(write(tmp_path / "m.gguf", name="Mistral 7B")), tmp_path)


def tensor(name: str, size: int) -> Callable[[gguf.GGUFWriter], None]:
    return lambda writer: writer.add_tensor(name, np.full(size, 2.0, dtype=np.float32))


def yarn(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)


def linear(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_factor(8.0)


@pytest.mark.parametrize(
    ("more", "named"),
    [(tensor("rope_freqs.weight", 4), "rope_freqs.weight"), (yarn, r"\(yarn\)"), (linear, "llama.rope.scaling")],
)
def test_a_file_with_scaled_positions_is_refused(
    tmp_path: Path, more: Callable[[gguf.GGUFWriter], None], named: str
) -> None:
    with pytest.raises(ModelError, match=f"positions are scaled .*{named}") as error:
        load.locate(str(write(tmp_path / "llama-3.1.gguf", more=more)), None)
    assert "safetensors" in error.value.hint
    assert not [entry for entry in (cache.home() / "gguf").iterdir() if entry.is_dir()]


def test_a_file_that_says_its_positions_are_not_scaled_is_read(tmp_path: Path) -> None:
    none = write(tmp_path / "a.gguf", more=lambda writer: writer.add_rope_scaling_type(gguf.RopeScalingType.NONE))
    torch.testing.assert_close(
        logits(load.load(str(none), None).model), logits(tiny_model(tied=False)), rtol=0, atol=1e-6
    )


def test_a_file_with_tensors_that_would_be_lost_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", more=tensor("blk.0.attn_q.bias", 32))
    with pytest.raises(ModelError, match=r"1 weights are lost, the first is blk\.0\.attn_q\.bias"):
        load.locate(str(path), None)


@pytest.mark.parametrize("way", ["straight", "general"])
def test_what_lies_beside_a_file_is_not_taken_for_its_own(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_tokenizer(template=None, merges=[("a", "c")]).save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "nowhere", "peft_type": "LORA"}')
    if way == "general":
        monkeypatch.setattr(gguf_llama, "convert", lambda *_: False)
    loaded = load.load(str(write(tmp_path / "tiny.gguf")), None)
    assert (loaded.chat.template, loaded.chat.stop_ids) == (TEMPLATE, {257})
    assert "ab" in loaded.chat.tokenizer.get_vocab()


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    said: list[str] = []
    first = load.locate(str(path), None, say=said.append)
    assert load.locate(str(path), None, say=said.append) == first
    assert len(said) == 1


def test_two_at_once_make_one_copy(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:  # the lock is on the open file, so threads exclude each other as processes do
        found = list(pool.map(lambda _: load.locate(str(path), None, say=said.append), range(2)))
    assert found[0] == found[1]
    assert len(said) == 1
    assert [entry for entry in (cache.home() / "gguf").iterdir() if entry.is_dir()] == [found[0].folder]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.gguf: no such file"):
        load.locate(str(tmp_path / "none.gguf"), None)


def test_a_file_that_only_looks_like_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"\x80\x04 a pickle, say")
    with pytest.raises(ModelError, match="not a GGUF file"):
        load.locate(str(tmp_path / "a.gguf"), None)


@pytest.mark.parametrize("kept", [12, 200, 3000, -100])
def test_a_file_cut_off_anywhere_is_refused_and_leaves_nothing(tmp_path: Path, kept: int) -> None:
    whole = write(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:kept])
    with pytest.raises(ModelError, match=r"cut\.gguf: can't be read"):
        load.locate(str(tmp_path / "cut.gguf"), None)
    assert not [entry for entry in (cache.home() / "gguf").iterdir() if entry.is_dir()]
