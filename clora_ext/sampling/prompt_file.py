"""Files of prompts for previews, as sd-scripts has them: text, TOML, JSON. Needs no torch."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from clora_ext.errors import SettingsError, UsageError, did_you_mean
from clora_ext.formats.text import quoted

__all__ = ["FilePrompt", "read_prompt_file"]

_LARGEST = 1 << 20  # bytes
_MOST = 100  # prompts: each is drawn again and again
_OPTIONS = {"n": "negative", "w": "width", "h": "height", "d": "seed", "s": "steps", "l": "guidance"}
_KEYS = {
    "prompt": "text",
    "negative_prompt": "negative",
    "width": "width",
    "height": "height",
    "seed": "seed",
    "sample_steps": "steps",
    "scale": "guidance",
}
_AS_TOML = "write [prompt] and [[prompt.subset]]"
_SAMPLER = ("ss", "sample_sampler")
_SAMPLERS = frozenset(
    "ddim pndm lms euler euler_a heun dpm_2 dpm_2_a dpmsolver dpmsolver++ dpmsingle k_lms k_euler k_euler_a "
    "k_dpm_2 k_dpm_2_a".split()
)
"""Names that sd-scripts knows; every one of them is drawn by DDIM here."""
_OPTION = re.compile(r"(?:^|\s)--(?=[A-Za-z]{1,3}(?:\s|$))")
_BOUNDS = {"width": (8, 4096), "height": (8, 4096), "seed": (0, 2**63 - 1), "steps": (1, 1000)}
_HIGHEST_GUIDANCE = 100


@dataclass(frozen=True, slots=True)
class FilePrompt:
    """One picture that a file asks for.

    Attributes:
        text: the prompt.
        negative: what to steer away from.
        width: pixels; None: as previews are.
        height: likewise.
        seed: of its noise; None: that of previews.
        steps: denoising steps; None: as previews have.
        guidance: None: likewise.
    """

    text: str
    negative: str = ""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None


def read_prompt_file(file: Path) -> tuple[FilePrompt, ...]:
    """Every prompt of a file, in its order.

    Args:
        file: ``.txt`` (a prompt a line, with ``--n --w --h --d --s --l --ss`` behind it; ``#`` begins a
            remark), ``.toml`` (``[prompt]`` and ``[[prompt.subset]]``) or ``.json`` (a list).

    Raises:
        SettingsError: everything that is wrong with it.
        UsageError: it cannot be read.
    """
    problems: list[str] = []
    found = []
    entries = _entries(file)
    for place, entry in entries:
        values, wrong = _typed(entry)
        problems += [f"{place}  {one}" for one in wrong]
        if not wrong:
            found.append(FilePrompt(**values))
    if not entries:
        problems.append(f"{file} holds no prompt")
    if len(entries) > _MOST:
        problems.append(f"{file} holds {len(entries)} prompts; {_MOST} are drawn at the most")
    if problems:
        raise SettingsError(problems)
    return tuple(found)


def _entries(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Each prompt's values by the names that the file gives them, and where it stands."""
    text = _read(file)
    if file.suffix == ".toml":
        return [(f"{file} ({number})", one) for number, one in enumerate(_of_toml(file, text), 1)]
    if file.suffix == ".json":
        return [(f"{file} ({number})", one) for number, one in enumerate(_of_json(file, text), 1)]
    if file.suffix != ".txt":
        raise UsageError(f"{file} is no file of prompts", fix="name one that ends in .txt, .toml or .json")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(f"{file}:{number}", _of_line(line)) for number, line in lines if line and line[0] != "#"]


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UsageError(f"{file} is no file of prompts: it is too large", fix="name another")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the prompts in {file}: {error}", fix="name a text file") from error


def _of_line(line: str) -> Mapping[str, Any]:
    prompt, *options = _OPTION.split(line)
    pairs = (option.split(maxsplit=1) for option in options)
    return {
        "prompt": prompt.strip(),
        **{f"--{pair[0].lower()}": pair[1] if pair[1:] else "" for pair in pairs},
    }


def _of_toml(file: Path, text: str) -> Iterator[Mapping[str, Any]]:
    """What stands above ``subset`` holds for every one."""
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        asked = tomlkit.parse(text).unwrap().get("prompt")
    except (ParseError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML: {error}", fix=_AS_TOML) from error
    found: dict[str, Any] = asked if isinstance(asked, dict) else {}
    subsets = found.get("subset")
    if not isinstance(subsets, list) or not all(isinstance(one, dict) for one in subsets):
        raise UsageError(f"{file} has no [[prompt.subset]]", fix=_AS_TOML)
    above = {name: value for name, value in found.items() if name != "subset"}
    yield from ({**above, **one} for one in subsets)


def _of_json(file: Path, text: str) -> Sequence[Mapping[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not JSON: {error}", fix="write a list of prompts") from error
    if not isinstance(found, list) or not all(isinstance(one, dict | str) for one in found):
        raise UsageError(f"{file} is no list of prompts", fix='write [{"prompt": "a dog"}]')
    return [{"prompt": one} if isinstance(one, str) else one for one in found]


def _typed(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values by the names of :class:`FilePrompt`, and what is wrong with them."""
    values: dict[str, Any] = {}
    wrong = []
    for key, value in entry.items():
        name = _OPTIONS.get(key.removeprefix("--")) if key.startswith("--") else _KEYS.get(key)
        if key.removeprefix("--") in _SAMPLER:
            if value not in _SAMPLERS:
                fix = did_you_mean(str(value), tuple(sorted(_SAMPLERS)))
                wrong.append(f"{key}: no sampler {quoted(str(value))}; {fix}")
        elif name is None:
            known = tuple(f"--{one}" for one in (*_OPTIONS, "ss")) if key.startswith("--") else tuple(_KEYS)
            wrong.append(f"{key}: no such option; {did_you_mean(key, known)}")
        else:
            try:
                values[name] = _value(name, value)
            except ValueError as error:
                wrong.append(f"{key} {error}")
    if not wrong and not values.get("text"):
        wrong.append("names no prompt")
    return values, wrong


def _value(name: str, value: object) -> Any:  # noqa: ANN401 - of the field's own type
    """ValueError: it is none; the message goes on from the key."""
    if name in {"text", "negative"}:
        return _text(value)
    number = _number(value)
    if name == "guidance":
        return _within(number, 1, _HIGHEST_GUIDANCE)
    if not number.is_integer():
        _refuse(f"{value} is no whole number")
    return int(_within(number, *_BOUNDS[name]))


def _text(value: object) -> str:
    return value if isinstance(value, str) else _refuse("is no text")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _refuse("is no number")
    try:
        number = float(value)
    except ValueError:
        return _refuse(f"{quoted(str(value))} is no number")
    return number if isfinite(number) else _refuse(f"{value} is no finite number")


def _within(number: float, least: float, most: float) -> float:
    return number if least <= number <= most else _refuse(f"{number:g} is not from {least} to {most}")


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
