"""The rows of the text encoders' tables that belong to a concept's trigger word."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target

from .context import ProjectContext
from .learning_tables import learning_tables
from .plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.evolving.model import Evolving
    from clora_ext.prompts.concept_prompts import ConceptPrompts

__all__ = ["changed_words", "own_rows", "word_vectors"]


def own_rows(plan: Plan, concept: "ConceptPrompts", earlier: "Sequence[ConceptPrompts]") -> dict[Target, int]:
    """The rows that learn with the concept, with their tokens; empty: the strategy lets none learn.

    A word that the tokenizer spells shares its pieces with others: those that occur in the class or in an
    earlier concept's words are left as they are.

    Args:
        plan: of pictures.
        concept: the new one in words.
        earlier: past concepts in words.
    """
    tables = learning_tables(plan)
    if not tables:
        return {}
    read = plan.context.family.reader(plan.context.header)
    words = [concept.class_name, *(one.trigger for one in earlier)]
    shared = {token for text in words for token in read(text)}
    own = [token for token in dict.fromkeys(read(concept.token)) if token not in shared]
    return {_row(table, token): token for table in tables for token in own}


def word_vectors(
    context: ProjectContext, word: str, value: "Callable[[Target], Tensor]"
) -> "dict[str, Tensor]":
    """What the text encoders read a word as, by component: a vector for each of its tokens, (tokens, width).

    Args:
        context: of the model.
        word: any text.
        value: of a row, (1, width).
    """
    import torch

    read = context.family.reader(context.header)(word)
    tables = context.family.token_tables(context.header)
    return {table.component: torch.cat([value(_row(table, token)) for token in read]) for table in tables}


def changed_words(
    context: ProjectContext, evolving: "Evolving", words: Iterable[str]
) -> "dict[str, dict[str, Tensor]]":
    """Those of the words that are read otherwise than by the base, and as what; see :func:`word_vectors`."""
    tables = evolving.changeable(context.family.token_tables(context.header))
    read = context.family.reader(context.header)
    changed: dict[str, dict[str, Tensor]] = {}
    for word in words:
        rows = [_row(table, token) for token in read(word) for table in tables]
        if any(bool(evolving.layer(row, "").earlier.any()) for row in rows):
            changed[word] = word_vectors(context, word, lambda row: evolving.matrix_rows(row, 0, 1))
    return changed


def _row(table: Target, token: int) -> Target:
    """One row of a table."""
    return replace(table, rows=(token, token + 1), shape=(1, table.shape[1]))
