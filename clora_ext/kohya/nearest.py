"""The names that a misspelt one may mean."""

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["did_you_mean_one_of", "nearest"]

_ALIKE = 0.75
_MOST = 3


def nearest(name: str, known: Collection[str]) -> tuple[str, ...]:
    """Those that are one slip of the finger away; if there are none, the one that is most alike, if any is.

    >>> nearest("learning_rat", ["learning_rate", "unet_lr"]), nearest("banana", ["seed"])
    (('learning_rate',), ())
    """
    slips = sorted(one for one in known if _is_one_slip(name, one))
    return tuple(slips[:_MOST]) or tuple(get_close_matches(name, known, n=1, cutoff=_ALIKE))


def did_you_mean_one_of(name: str, known: Collection[str]) -> str:
    """The question, or nothing.

    >>> did_you_mean_one_of("clip_h", ["clip_g", "clip_l"])
    'did you mean clip_g or clip_l?'
    """
    found = nearest(name, known)
    return f"did you mean {' or '.join(found)}?" if found else ""


def _is_one_slip(written: str, meant: str) -> bool:
    """One letter wrong, missing or too many, two neighbours exchanged, or only upper and lower case.

    >>> [_is_one_slip(word, "seed") for word in ("sed", "seedd", "sead", "esed", "SEED", "sde")]
    [True, True, True, True, True, False]
    """
    a, b = written.casefold().replace("-", "_"), meant.casefold()
    if abs(len(a) - len(b)) > 1:
        return False
    start = next(
        (place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    a, b = a[start:], b[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
