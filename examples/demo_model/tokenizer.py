"""The tokenizer: CLIP's byte-level BPE with a small vocabulary that knows the words of the captions."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from captions import words
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 20
"""Tokens in a prompt, its start and end included."""

_ONE_AT_A_TIME = threading.Lock()  # a fast tokenizer keeps its padding as state


def made_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a folder; where there is none, it is first trained on the words of the captions."""
    if folder.exists():
        return load_tokenizer(folder)
    merges = _merges(words())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += list(dict.fromkeys(left + right for left, right in merges))
    tokens += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a folder."""
    loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    return loaded


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Ids (n, MAX_TOKENS), padded and cut; may be called from several threads."""
    with _ONE_AT_A_TIME:
        encoded = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def _merges(known: list[str]) -> list[tuple[str, str]]:
    """Merges that make every known word one token, in order."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(known, trainer)
    listed = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in listed]
