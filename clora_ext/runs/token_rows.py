"""The rows of the text encoders' tables that belong to a concept's trigger word alone."""

from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target

from .prepared import PreparedRun

if TYPE_CHECKING:
    from clora_ext.families.base import Model

__all__ = ["own_rows"]


def own_rows(run: PreparedRun, model: "Model") -> dict[Target, int]:
    """The rows that learn with the concept, with their tokens; empty: the strategy lets none learn.

    A word that the tokenizer spells shares its pieces with others: those that occur in the class or in an
    earlier concept's words are left as they are.
    """
    plan = run.plan
    if not plan.strategy.row_rate():
        return {}
    words = [run.concept.class_name, *(one.trigger for one in run.earlier)]
    shared = {token for text in words for token in model.tokens(text)}
    own = [token for token in dict.fromkeys(model.tokens(run.concept.token)) if token not in shared]
    tables = plan.context.family.token_tables(plan.context.header)
    return {
        replace(table, rows=(token, token + 1), shape=(1, table.shape[1])): token
        for table in tables
        for token in own
    }
