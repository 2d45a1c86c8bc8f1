import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

PACKAGE = "clora_ext.cli"
MODULES = sorted(module.name for module in iter_modules(import_module(PACKAGE).__path__, f"{PACKAGE}."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist(name: str) -> None:
    module = import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert all(hasattr(module, public) for public in module.__all__)
