"""clora's own file of a run: token, class, strategy and every setting of a concept, to teach it so again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.knob_values import check_knob
from clora_ext.config.settings import Settings
from clora_ext.config.strategy_names import name_problem
from clora_ext.formats.text import quoted

from .document import Document
from .finding import Finding
from .nearest import did_you_mean_one_of
from .origin import Origin, Sourced

if TYPE_CHECKING:
    from clora_ext.project import ConceptRecord

__all__ = ["RunFile", "is_run_file", "read_run_file", "run_file_text"]

_MARK = "clora"
_FORMAT = 1
_TEXTS = ("token", "class_name", "strategy")
_TABLES = ("strategy_options", "settings")


@dataclass(frozen=True, slots=True)
class RunFile:
    """What such a file asks for.

    Attributes:
        path: of the file.
        values: by the names of :class:`clora_ext.Settings`, and ``token`` and ``class_name``.
        findings: everything that is wrong.
    """

    path: Path
    values: Sourced
    findings: tuple[Finding, ...]


def run_file_text(record: "ConceptRecord") -> str:
    """The file that teaches a concept's pictures again as they were taught.

    Args:
        record: of a concept that was trained.
    """
    import tomlkit

    file = tomlkit.document()
    file.add(tomlkit.comment(f"concept {record.number}: clora add-concept IMAGES --config THIS_FILE"))
    begun_as = record.setting("start_from")
    if begun_as is not None:
        file.add(tomlkit.comment(f"it began as a LoRA: --start-from {quoted(str(begun_as))}"))
    vae = record.setting("vae")
    if vae is not None:
        file.add(tomlkit.comment(f"its pictures were encoded by another VAE: --vae {quoted(str(vae))}"))
    file.add(_MARK, tomlkit.item(_FORMAT))
    file.add("token", tomlkit.item(record.token))
    file.add("class_name", tomlkit.item(record.class_name))
    file.add("strategy", tomlkit.item(record.strategy))
    if record.strategy_options:
        file.add("strategy_options", _table(record.strategy_options))
    known = {name: record.setting(name) for name in knob_fields(Settings)}
    file.add("settings", _table({name: value for name, value in known.items() if value is not None}))
    return tomlkit.dumps(file)


def _table(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - tomlkit's own
    import tomlkit

    table = tomlkit.table()
    for name, value in values.items():
        if value is None:  # TOML has no such value, and it is what a setting is without one
            continue
        table.add(name, list(value) if isinstance(value, tuple) else value)
    return table


def is_run_file(document: Document) -> bool:
    """Whether it is clora's own."""
    return _MARK in document.values


def read_run_file(document: Document) -> RunFile:
    """Everything that it asks for, and everything that is wrong with it."""
    findings = tuple(_findings(document))
    return RunFile(document.path, {} if findings else dict(_values(document)), findings)


def _values(document: Document) -> Iterator[tuple[str, tuple[Any, Origin]]]:
    values = document.values
    for name in (*_TEXTS, "strategy_options"):
        if name in values:
            yield name, (values[name], _origin(document, name, (name,)))
    for name, value in values.get("settings", {}).items():
        yield name, (value, _origin(document, name, ("settings", name)))


def _origin(document: Document, name: str, place: tuple[str, ...]) -> Origin:
    line = document.line(place)
    where = str(document.path) if line is None else f"{document.path}:{line}"
    return Origin(where, name)


def _findings(document: Document) -> Iterator[Finding]:
    """Keys that are none, and values that are none of theirs."""
    version = document.values[_MARK]
    if version != _FORMAT:
        message = f"is of format {version!r:.20}; this clora knows {_FORMAT}"
        yield _wrong(document, (_MARK,), message, "update clora")
        return
    yield from _at_the_top(document)
    settings = document.values.get("settings")
    yield from _of_settings(document, settings if isinstance(settings, dict) else {})


def _at_the_top(document: Document) -> Iterator[Finding]:
    known = (_MARK, *_TEXTS, *_TABLES)
    for name, value in document.values.items():
        if name not in known:
            nearest = did_you_mean_one_of(name, dict.fromkeys(known))
            yield _wrong(document, (name,), "clora has no such key", nearest)
        elif name in _TEXTS and not isinstance(value, str):
            yield _wrong(document, (name,), "is no text", f'write {name} = "..."')
        elif name in _TABLES and not isinstance(value, dict):
            yield _wrong(document, (name,), "is no table", f"write [{name}]")
        elif name == "strategy" and (unknown := name_problem(value)) is not None:
            yield _wrong(document, (name,), *unknown)


def _of_settings(document: Document, settings: Mapping[str, Any]) -> Iterator[Finding]:
    knobs = knob_fields(Settings)
    for name, value in settings.items():
        place = ("settings", name)
        if name not in knobs:
            nearest = did_you_mean_one_of(name, knobs)
            yield _wrong(document, place, "clora has no such setting", nearest)
            continue
        for problem in check_knob(knobs[name], value):
            yield _wrong(document, place, problem)


def _wrong(document: Document, place: tuple[str, ...], message: str, suggestion: str = "") -> Finding:
    return Finding(document.path, document.line(place), place[-1], "error", message, suggestion)
