"""What the documents say can be typed and clicked: commands, options, targets of make, links, pictures."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import typer
import yaml
from cases import check_each
from pages import ROOT, anchors, code_spans, documents, shell_lines, text_of

COMMAND = typer.main.get_command(import_module("clora_ext.cli.app").app)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def found(words: list[str]) -> tuple[object, list[str]]:
    """The command that a line names, and the words after it."""
    command, rest = COMMAND, words
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def options_of(command: object) -> set[str]:
    """All spellings of its options, ``--help`` included."""
    parameters = getattr(command, "params", ())
    return {"--help", "-h", *(name for one in parameters for name in (*one.opts, *one.secondary_opts))}


def every_command(command: object = COMMAND) -> list[object]:
    below = getattr(command, "commands", {}).values()
    return [command, *(one for inner in below for one in every_command(inner))]


EVERY_OPTION = {name for command in every_command() for name in options_of(command)}


def test_commands_in_shell_blocks_parse() -> None:
    lines = [(page, line) for page in documents() for line in shell_lines(page) if line.startswith("clora ")]
    assert len(lines) >= 6

    def check(case: tuple[Path, str]) -> None:
        command, words = found(shlex.split(case[1], comments=True)[1:])
        assert command is not COMMAND, "there is no such command"
        command.make_context("clora", words)  # type: ignore[attr-defined]  # raises if an option is unknown

    check_each(lines, check)


def test_commands_and_options_in_the_text_exist() -> None:
    # An old entry of the changelog stays as it was; the others also tell of options of other programs.
    of_users = [page for page in documents() if page.name not in {"CHANGELOG.md", "CONTRIBUTING.md"}]
    pages = [page for page in of_users if not page.is_relative_to(ROOT / "examples")]
    spans = [(page, span) for page in pages for span in code_spans(page)]
    ours = [(page, span) for page, span in spans if re.match(r"clora( |$)|--?[a-z]", span)]
    assert len(ours) > 50

    def check(case: tuple[Path, str]) -> None:
        words = case[1].replace("|", " ").split()
        command, rest = found(words[1:]) if words[0] == "clora" else (None, words)
        known = EVERY_OPTION if command is None else options_of(command)
        assert command is not COMMAND or not rest or rest[0].startswith("-"), "there is no such command"
        assert [word for word in rest if word.startswith("--") and word.split("=")[0] not in known] == []

    check_each(ours, check)


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in documents():
        typed = [*shell_lines(page), *code_spans(page)]
        named = {word for line in typed for word in re.findall(r"^make ([a-z][a-z-]*)", line)}
        assert named <= targets, page


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in documents() for link in _LINK.findall(text_of(page))]
    inside = [(page, link) for page, link in links if not re.match(r"https?://", link)]
    assert len(inside) > 20

    def check(case: tuple[Path, str]) -> None:
        page, link = case
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists()
        assert target.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(target)

    check_each(inside, check)


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = set(_LINK.findall(text_of(index)))
    assert {file.name for file in (ROOT / "docs").glob("*.md")} - {index.name} <= listed


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in documents() for link in _LINK.findall(text_of(page))}
    assert set((ROOT / "docs" / "images").iterdir()) <= shown


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert citation["cff-version"] == "1.2.0"
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project
    assert {"message", "title", "authors"} <= citation.keys()
    assert "2410.04891" in citation["references"][0]["url"]
