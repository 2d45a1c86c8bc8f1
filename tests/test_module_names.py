"""The tests import each other by name alone."""

from collections import Counter
from pathlib import Path


def test_no_two_modules_of_the_tests_bear_one_name() -> None:
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py"))
    del names["conftest.py"]  # pytest loads these by their paths
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []
