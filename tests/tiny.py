"""A tiny random model with a byte tokenizer, made in the process: no file, no network, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"

TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'user' %}{{ m.content }}"
    "{% elif loop.last %}{{ '' if '</think>' in m.content else '<think></think>' }}{{ m.content }}"
    "{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""In the manner of Qwen3: reasoning stands before the last answer, be it empty, and before no other."""


def tiny_tokenizer(template: str | None = TEMPLATE, merges: Sequence[tuple[str, str]] = ()) -> PreTrainedTokenizerFast:
    """256 byte tokens, those of ``merges`` and three special ones; ids 0-255 are the byte alphabet by its symbols."""
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    inner = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=list(merges)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (START, END, PAD)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def tiny_model(
    seed: int = 0, *, hidden: int = 32, layers: int = 2, context: int = 512, tied: bool = True
) -> LlamaForCausalLM:
    """A random Llama of 4 heads over 2 key-value heads, in float32 and eval mode; vocabulary of ``tiny_tokenizer``."""
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=257,
        pad_token_id=258,
        tie_word_embeddings=tied,
        initializer_range=0.3,  # wide enough that answers differ between prompts
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=257, pad_token_id=258)
    return model.eval()


def tiny_folder(
    path: Path,
    *,
    seed: int = 0,
    template: str | None = TEMPLATE,
    tied: bool = True,
    context: int = 512,
    hidden: int = 32,
    layers: int = 2,
) -> Path:
    """Save model and tokenizer as a Hugging Face folder at ``path`` and return it."""
    tiny_model(seed, hidden=hidden, layers=layers, tied=tied, context=context).save_pretrained(path)
    tiny_tokenizer(template).save_pretrained(path)
    return path
