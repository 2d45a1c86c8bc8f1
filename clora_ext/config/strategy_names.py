"""The strategies' names: one file each, in the folder of strategies. Imports none of them."""

from pathlib import Path

from clora_ext.errors import did_you_mean

__all__ = ["FOLDER", "name_problem", "strategy_names"]

FOLDER = Path(__file__).parents[1] / "strategies"
"""Where their files lie."""

_NOT_A_STRATEGY = {"__init__", "base", "needs", "objective", "options"}


def strategy_names() -> tuple[str, ...]:
    """Every strategy's name, sorted.

    >>> "mask" in strategy_names()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in _NOT_A_STRATEGY))


def name_problem(name: object) -> tuple[str, str] | None:
    """What is wrong with a strategy's name, and the remedy with the nearest one; None: it is one.

    >>> message, remedy = name_problem("msak")
    >>> message, remedy.partition("?")[0]
    ("unknown strategy 'msak'", "did you mean 'mask'")
    """
    known = strategy_names()
    return None if name in known else (f"unknown strategy {name!r:.80}", did_you_mean(str(name), known))
