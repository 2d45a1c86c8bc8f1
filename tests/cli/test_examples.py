import doctest
from importlib import import_module
from pkgutil import iter_modules

from cases import check_each

PACKAGE = "clora_ext.cli"
MODULES = sorted(module.name for module in iter_modules(import_module(PACKAGE).__path__, f"{PACKAGE}."))


def test_examples_in_docstrings_are_true() -> None:
    def check(name: str) -> None:
        assert doctest.testmod(import_module(name)).failed == 0

    check_each(MODULES, check)


def test_public_names_exist() -> None:
    def check(name: str) -> None:
        module = import_module(name)
        assert sorted(module.__all__) == sorted(set(module.__all__))
        assert [public for public in module.__all__ if not hasattr(module, public)] == []

    check_each(MODULES, check)
