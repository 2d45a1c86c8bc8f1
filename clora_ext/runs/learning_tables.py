"""The tables of tokens in which rows learn beside an adapter."""

from clora_ext.adapters.sites import Target
from clora_ext.data import Dataset

from .plan import Plan

__all__ = ["learning_tables"]


def learning_tables(plan: Plan) -> tuple[Target, ...]:
    """Those of the model's text encoders; none where the strategy or the model lets none learn."""
    learns = isinstance(plan.material, Dataset) and plan.strategy.row_rate() > 0
    return plan.context.family.token_tables(plan.context.header) if learns else ()
