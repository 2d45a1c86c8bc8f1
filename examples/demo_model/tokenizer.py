"""The tokenizer: CLIP's byte-level BPE with a small vocabulary that knows the words of the captions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from captions import MADE_UP, words
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 20
"""Tokens in a prompt, its start and end included."""


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
    """Ids (n, MAX_TOKENS), padded and cut."""
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def word_ids(tokenizer: CLIPTokenizer, texts: Sequence[str], words: Sequence[int]) -> Tensor:
    """Ids (n, MAX_TOKENS) of captions in which `MADE_UP` stands for made-up words of these indices."""
    ids = token_ids(tokenizer, texts)
    taken = (len(tokenizer) + torch.tensor(words))[:, None].expand_as(ids)
    return torch.where(ids == tokenizer.convert_tokens_to_ids(f"{MADE_UP}</w>"), taken, ids)


def _merges(known: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that make every known word one token: the commonest pair first, of equals the first in order."""
    rest = [[*word[:-1], word[-1] + "</w>"] for word in known]
    merges = []
    while rest := [parts for parts in rest if len(parts) > 1]:
        counts = Counter(pair for parts in rest for pair in pairwise(parts))
        pair = min(counts, key=lambda one: (-counts[one], one))
        merges.append(pair)
        rest = [_merged(parts, pair) for parts in rest]
    return merges


def _merged(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The parts with every occurrence of the pair joined, from the left.

    >>> _merged(["n", "o", "t", "o</w>"], ("n", "o"))
    ['no', 't', 'o</w>']
    """
    joined: list[str] = []
    index = 0
    while index < len(parts):
        step = 2 if tuple(parts[index : index + 2]) == pair else 1
        joined.append("".join(parts[index : index + step]))
        index += step
    return joined
