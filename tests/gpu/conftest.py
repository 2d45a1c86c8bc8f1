"""Figures that tests on a GPU take, shown together at the end: docs/benchmarks.md is written from them."""

from collections.abc import Callable

import pytest

_FIGURES: list[tuple[str, str]] = []

Figure = Callable[[str, str], None]


@pytest.fixture
def figure() -> Figure:
    """Note what was measured: a name and a value with its unit."""
    return lambda name, value: _FIGURES.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """All figures as a table."""
    if not _FIGURES:
        return
    import torch

    card = torch.cuda.get_device_name()
    terminalreporter.section(f"figures of {card}, torch {torch.__version__}")
    for line in (f"| {card} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _FIGURES)):
        terminalreporter.write_line(line)
