"""A change of the engine that the tests must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A change of one place in the engine, and the tests that must notice it."""

    name: str
    file: str
    good: str
    bad: str
    tests: str
