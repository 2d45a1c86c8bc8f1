"""Many cases as one test that names every case that fails."""

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import pytest

Case = TypeVar("Case")


def check_each(cases: Iterable[Case], check: Callable[[Case], object]) -> None:
    """Call ``check`` with every case, whether or not others fail; then name those that failed, and why.

    Raises:
        AssertionError: cases failed, or there are none: the test could not fail.
    """
    problems = [_problem(check, case) for case in cases]
    assert problems, "there are no cases"
    failures = [problem for problem in problems if problem]
    if failures:
        raise AssertionError("\n\n".join([f"{len(failures)} of {len(problems)} cases fail", *failures]))


def _problem(check: Callable[[Case], object], case: Case) -> str:
    """What ``check`` raises for one case, with its name and the line; empty if nothing."""
    try:
        check(case)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever it is, the others count
        line = traceback.extract_tb(error.__traceback__)[:2][-1].lineno
        return f"{case!r:.120}, line {line}: {type(error).__name__}: {error}"
    return ""


def empty_folder(parent: Path) -> Path:
    """A new folder for one case."""
    return Path(mkdtemp(dir=parent))
