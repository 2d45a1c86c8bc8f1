"""Changes of layers against second moments of inputs: how much they answer to them, and what answers less."""

from typing import Any

import torch
from torch import Tensor

from .moments import Moment

__all__ = ["change_quadratic", "retain"]

# Of the mean variance: what weighs for leaving the rows as they are. Without it, directions that nothing has
# ever read would be divided by zero, and what differs by next to nothing be told apart by huge rows: over 25
# inputs of 40 numbers they grow 30-fold at 2^-20, by a quarter at this.
_RIDGE = 2.0**-7


def change_quadratic(down: Tensor, up: Tensor, moment: Moment) -> Tensor:
    """tr(up down G down^T up^T): the mean squared norm of what up @ down answers to such inputs.

    The gradient is written out: it needs one product with G, where autograd would keep G's factor in float32
    for every layer and multiply once more.

    Args:
        down: (rank, in), float32.
        up: (out, rank), float32.
        moment: G, (in, in), where they lie.

    Returns:
        A scalar, float32, that gradients flow through to ``down`` and ``up``.
    """
    found: Tensor = _ChangeQuadratic.apply(down, up, moment)  # type: ignore[no-untyped-call]  # torch's own
    return found


class _ChangeQuadratic(torch.autograd.Function):
    """With M = down G: the value is <M down^T, up^T up>, the gradients 2 (up^T up) M and 2 up (M down^T)."""

    @staticmethod
    def forward(ctx: Any, down: Tensor, up: Tensor, moment: Moment) -> Tensor:  # noqa: ANN401 - torch's context
        through = moment.apply(down)
        inner, outer = through @ down.T, up.T @ up
        ctx.save_for_backward(through, inner, outer, up)
        return (inner * outer).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        through, inner, outer, up = ctx.saved_tensors
        return 2 * gradient * (outer @ through), 2 * gradient * (up @ inner), None


def retain(rows: Tensor, new: Moment, past: Moment, strength: float) -> Tensor:
    """rows @ new @ (new + strength * past)^-1: (n, in) of (n, in), float32.

    Of what the rows answer to new inputs, as much as can stay without their answering to past ones. Where
    neither has ever been, the rows stay as they are.
    """
    divide = _divide_whole if new.is_whole and past.is_whole else _divide_low_rank
    if not _ridge(new, past, strength):
        return rows
    # In float64: what float32 rounds is as large as what is read in the directions that are hardly read.
    answered = strength * past.apply(rows.double())
    return (rows.double() - divide(answered, new, past, strength)).float()


def _ridge(new: Moment, past: Moment, strength: float) -> float:
    """What is added to every variance of the sum."""
    return _RIDGE * (new.mean_variance + strength * past.mean_variance)


def _divide_whole(rows: Tensor, new: Moment, past: Moment, strength: float) -> Tensor:
    """rows @ (new + strength * past + ridge)^-1, float64."""
    whole = new.dense() + strength * past.dense()
    whole.diagonal().add_(_ridge(new, past, strength))
    solved: Tensor = torch.cholesky_solve(rows.T, torch.linalg.cholesky(whole))
    return solved.T


def _divide_low_rank(rows: Tensor, new: Moment, past: Moment, strength: float) -> Tensor:
    """The same of D + C C^T: Woodbury's identity, with no matrix of the width squared."""
    columns = torch.cat([new.factor.double(), strength**0.5 * past.factor.double()], dim=1)
    spread = new.diagonal.double() + strength * past.diagonal.double() + _ridge(new, past, strength)
    scaled = columns / spread.unsqueeze(1)  # D^-1 C
    core = columns.T @ scaled
    core.diagonal().add_(1)
    inner = torch.linalg.solve(core, (rows @ scaled).T).T
    solved: Tensor = rows / spread - inner @ scaled.T
    return solved
