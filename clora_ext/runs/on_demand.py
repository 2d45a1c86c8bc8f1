"""A sequence whose items are made when they are first asked for."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, overload

__all__ = ["OnDemand"]

_Item = TypeVar("_Item")


class OnDemand(Sequence[_Item]):
    """Items that are made once, and kept.

    Args:
        count: how many there are.
        make: gives one by its number; what it raises goes on to whoever has asked.
        now: numbers of those that are made at once.

    >>> squares = OnDemand(10, lambda number: number**2, now=[3])
    >>> squares[3], squares[-1], len(squares)
    (9, 81, 10)
    """

    def __init__(self, count: int, make: Callable[[int], _Item], now: Iterable[int] = ()) -> None:
        self._numbers = range(count)
        self._make = make
        self._made = {number: make(number) for number in now}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> _Item: ...

    @overload
    def __getitem__(self, number: slice) -> list[_Item]: ...

    def __getitem__(self, number: int | slice) -> _Item | list[_Item]:
        if isinstance(number, slice):
            return [self[one] for one in self._numbers[number]]
        place = self._numbers[number]
        if place not in self._made:
            self._made[place] = self._make(place)
        return self._made[place]
