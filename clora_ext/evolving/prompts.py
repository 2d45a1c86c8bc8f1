"""Past concepts in words, as a strategy of level L1 or L2 keeps them: text in the memory file's header."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.memory import PROMPTS_KEY
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies.base import Strategy

__all__ = ["check_declared", "decode_prompts", "encode_prompts"]


def encode_prompts(prompts: Sequence[ConceptPrompts]) -> dict[str, str]:
    """Metadata of a memory that holds ``prompts``; empty if there are none."""
    if not prompts:
        return {}
    return {PROMPTS_KEY: json.dumps([asdict(one) for one in prompts], separators=(",", ":"))}


def check_declared(strategy: Strategy, prompts: Sequence[ConceptPrompts]) -> None:
    """Make sure that a strategy has declared that it keeps words.

    Raises:
        CheckpointError: it keeps ``prompts``, and its level is L0.
    """
    if prompts and strategy.state_level == "L0":
        message = f"the strategy {type(strategy).__name__} declares the state level L0 and keeps prompts"
        raise CheckpointError(message, fix="declare L1 in the strategy, or keep nothing")


def decode_prompts(header: Header) -> tuple[ConceptPrompts, ...]:
    """The prompts in a memory's header.

    Raises:
        CheckpointError: they are not what :func:`encode_prompts` writes.
    """
    text = header.metadata.get(PROMPTS_KEY)
    if text is None:
        return ()
    try:
        return tuple(_read(entry) for entry in json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        message = f"the memory's prompts are damaged: {error!r:.200}"
        raise CheckpointError(message, fix="restore the memory from a backup, or clora undo") from error


def _read(entry: Mapping[str, object]) -> ConceptPrompts:
    """One concept."""
    prompts = entry["prompts"]
    words = [entry["token"], entry["class_name"], *(prompts if isinstance(prompts, list) else [None])]
    if not all(isinstance(word, str) for word in words):
        message = "a word is not text"
        raise TypeError(message)
    token, class_name, *rest = map(str, words)
    return ConceptPrompts(token, class_name, tuple(rest))
