"""What rounding loses, kept beside what is stored: two bytes restore the float32 value.

A half precision number and its residual stand for one float32 number. The residual counts, in a 16-bit
integer, steps of a fixed fraction of the stored number's binade, so that nothing but the last bit of a
float32 is ever at stake. (A residual in float16 keeps 22 of its 24 bits, one in bfloat16 19; a bfloat16 model
then misses its state by 3e-4 of the change after a hundred merges, where this keeps 3e-5, as float32 does.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from clora_ext.adapters.scratch import Scratch

__all__ = ["HALVES", "join", "residual"]


@dataclass(frozen=True)
class _Grid:
    """How residuals of a dtype are counted.

    Attributes:
        digits: a step is 2 ** (e - digits) for a stored number in [2 ** e, 2 ** (e + 1)).
        least: e of smaller numbers is taken as this.
    """

    digits: int
    least: int

    @cached_property
    def all_steps(self) -> Tensor:
        """The bits of 2 ** (digits - e) are these without those of 2 ** e (int32, where they go round)."""
        return torch.tensor((2 * _BIAS + self.digits) << _DIGITS).to(torch.int32)


_GRIDS: Mapping[torch.dtype, _Grid] = {torch.float16: _Grid(24, -16), torch.bfloat16: _Grid(23, -100)}

HALVES = frozenset(_GRIDS)
"""The dtypes that have residuals."""

# Where a float32 keeps its exponent; as a tensor, because a number is made into one for every call.
_EXPONENT = torch.tensor(0x7F800000, dtype=torch.int32)
_BIAS = 127
_DIGITS = 23  # bits of a float32 after the exponent
# Half a unit of what is stored would be a tie: one step less never rounds to the neighbour.
_MOST = 32767


def residual(exact: Tensor, stored: Tensor, scratch: Scratch | None = None) -> Tensor:
    """What ``stored`` (``exact``, float32, rounded to half precision) lacks; int16, of the same shape.

    It has memory of its own, or lies in ``scratch``.

    :func:`join` gives back float16's values from 2**-15 up exactly and smaller ones within 2**-40;
    bfloat16's within one unit in the last place of a float32. What it gives rounds to ``stored`` again and
    has the same residual. Values that are not finite have none worth keeping.

    >>> exact = torch.tensor([0.1])
    >>> stored = exact.half()
    >>> stored.float().equal(exact), join(stored, residual(exact, stored)).equal(exact)
    (False, True)
    """
    grid, scratch = _GRIDS[stored.dtype], scratch or Scratch()
    near = scratch.take("near", stored.shape).copy_(stored)
    binade = _binade(near, grid, scratch)
    steps = torch.sub(grid.all_steps, binade, out=binade)
    lost = torch.sub(exact, near, out=near).mul_(steps.view(torch.float32))
    return scratch.take("lost", stored.shape, torch.int16).copy_(lost.round_().clamp_(-_MOST, _MOST))


def join(stored: Tensor, kept: Tensor, scratch: Scratch | None = None) -> Tensor:
    """The float32 values of what is ``stored`` and its residuals ``kept``; memory as of :func:`residual`."""
    grid, scratch = _GRIDS[stored.dtype], scratch or Scratch()
    exact = scratch.take("exact", stored.shape).copy_(stored)
    step = _binade(exact, grid, scratch).sub_(grid.digits << _DIGITS).view(torch.float32)
    return exact.addcmul_(step, scratch.take("near", stored.shape).copy_(kept))


def _binade(near: Tensor, grid: _Grid, scratch: Scratch) -> Tensor:
    """2 ** e as the bits of a float32 (int32)."""
    bits = scratch.take("binade", near.shape, torch.int32)
    torch.bitwise_and(near.view(torch.int32), _EXPONENT, out=bits)
    return bits.clamp_(min=(_BIAS + grid.least) << _DIGITS)
