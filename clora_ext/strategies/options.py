"""A strategy's own options: the fields of its dataclass, as text, as typed values, as plain JSON values."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from clora_ext.config.knob_fields import all_fields
from clora_ext.config.knob_values import typed_value
from clora_ext.errors import SettingsError, UsageError, did_you_mean

__all__ = ["described_options", "is_set", "plain_values", "read_pairs", "typed_values"]


def read_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Options by their names, from ``NAME=VALUE`` each; empty ones are left out.

    >>> read_pairs(["mode=paper", " strength = 0.5 "])
    {'mode': 'paper', 'strength': '0.5'}

    Raises:
        UsageError: one is no such pair, or one name stands twice.
    """
    options: dict[str, str] = {}
    for pair in filter(None, map(str.strip, pairs)):
        name, sign, value = (part.strip() for part in pair.partition("="))
        if not (name and sign):
            message = f"a strategy's option is written NAME=VALUE, not {pair!r:.80}"
            raise UsageError(message, fix="for example mode=paper")
        if name in options:
            raise UsageError(f"the strategy's option {name!r} is given twice", fix="give it once")
        options[name] = value
    return options


def typed_values(strategy: str, kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the types of the fields of ``kind``, the strategy's dataclass.

    Raises:
        SettingsError: unknown names and values that do not fit, all of them at once.
    """
    known = all_fields(kind)
    problems: list[str] = []
    typed: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            fix = did_you_mean(name, sorted(known)) if known else "leave it out"
            problems.append(f"strategy {strategy!r} has no option {name!r}; {fix}")
            continue
        try:
            typed[name] = typed_value(known[name], value)
        except SettingsError as error:
            problems += [f"strategy {strategy!r}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return typed


def plain_values(kind: type, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Typed options as JSON's own kinds."""
    from pydantic import TypeAdapter

    known = all_fields(kind)
    return {
        name: value if value is None else TypeAdapter(known[name].annotation).dump_python(value, mode="json")
        for name, value in typed.items()
    }


def described_options(source: str) -> dict[str, str]:
    """What a strategy's file says of its options, by their names, without running it (it needs torch).

    >>> described_options(\"\"\"
    ... class Fading:
    ...     strength: Annotated[float, Ge(0), Knob("Share that stays.")] = 0.5
    ...     items: Annotated[int | None, Knob("How many.", default_text="half")] = None
    ...     rowwise: ClassVar[bool] = True
    ... STRATEGY = Fading
    ... \"\"\")
    {'strength': 'Share that stays. Default: 0.5.', 'items': 'How many. Default: half.'}
    """
    return {
        field.target.id: _description(field)
        for field in _strategy_class(ast.parse(source)).body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and not ast.unparse(field.annotation).startswith("ClassVar")
    }


def is_set(source: str, flag: str) -> bool:
    r"""Whether a strategy's file sets a flag of its class, without running it.

    >>> source = "class Weak:\n    for_comparison: ClassVar[bool] = True\nSTRATEGY = Weak"
    >>> is_set(source, "for_comparison"), is_set(source, "rowwise")
    (True, False)
    """
    fields = _strategy_class(ast.parse(source)).body if flag in source else []
    return any(
        isinstance(field, ast.AnnAssign)
        and ast.unparse(field.target) == flag
        and field.value is not None
        and ast.unparse(field.value) == "True"
        for field in fields
    )


def _strategy_class(module: ast.Module) -> ast.ClassDef:
    """The class that ``STRATEGY = Name`` names."""
    (name,) = (
        node.value.id
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Name)
        and [ast.unparse(target) for target in node.targets] == ["STRATEGY"]
    )
    (found,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name)
    return found


def _description(field: ast.AnnAssign) -> str:
    """The help of the field's Knob, and its default, by the words that the Knob has for it if it has any."""
    knobs = [
        node
        for node in ast.walk(field.annotation)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Knob" and node.args
    ]
    helps = [str(ast.literal_eval(knob.args[0])) for knob in knobs]
    if field.value is None:
        return " ".join(helps)
    told = [one.value for knob in knobs for one in knob.keywords if one.arg == "default_text"]
    shown = told[0] if told else field.value
    default = ast.literal_eval(shown) if isinstance(shown, ast.Constant) else ast.unparse(shown)
    return " ".join([*helps, f"Default: {default}."])
