"""Numbers that lie as evenly between 0 and 1 as can be, however many of them are taken."""

from math import sqrt

__all__ = ["spread"]

# Of the golden ratio's multiples no part of the line from 0 to 1 is missed for long: its
# continued fraction is all ones (Knuth, The Art of Computer Programming 3, section 6.4).
_GOLDEN = (sqrt(5) - 1) / 2


def spread(number: int, start: float = 0.0) -> float:
    """Number ``number`` of the sequence that begins at ``start``, from 0 up to 1.

    Chance leaves out one of nine kinds in every seventh draw of seventeen; these hit each of them.

    >>> sorted({int(spread(number) * 9) for number in range(13)})
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    return (start + number * _GOLDEN) % 1
