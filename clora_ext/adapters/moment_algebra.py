"""Changes of layers against second moments of inputs: how much they answer to them, and what answers less."""

from typing import Any

import torch
from torch import Tensor

from .moments import Moment

__all__ = ["change_quadratic", "retain"]

# Of the mean variance: without it, directions that nothing has ever read would be divided by zero.
_RIDGE = 2.0**-20


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

    What the rows answer to new inputs stays, as far as it can without answering to past ones.
    """
    if new.is_whole and past.is_whole:
        whole = new.dense().double() + strength * past.dense().double()
        ridge = _RIDGE * whole.diagonal().mean()
        if not ridge > 0:
            return rows
        root = torch.linalg.cholesky(whole + ridge * torch.eye(len(whole), dtype=whole.dtype))
        solved: Tensor = torch.cholesky_solve(new.apply(rows).double().T, root)
        return solved.T.float()
    return _retain_low_rank(rows, new, past, strength)


def _retain_low_rank(rows: Tensor, new: Moment, past: Moment, strength: float) -> Tensor:
    """The same with D + C C^T in the place of the sum: Woodbury's identity."""
    columns = torch.cat([new.factor.double(), strength**0.5 * past.factor.double()], dim=1)
    spread = new.diagonal.double() + strength * past.diagonal.double()
    ridge = _RIDGE * (spread + columns.square().sum(dim=1)).mean()
    if not ridge > 0:
        return rows
    scaled = columns / (spread + ridge).unsqueeze(1)  # D^-1 C
    answered = new.apply(rows).double()
    core = columns.T @ scaled
    core.diagonal().add_(1)
    inner = torch.linalg.solve(core, (answered @ scaled).T).T
    retained: Tensor = answered / (spread + ridge) - inner @ scaled.T
    return retained.float()
