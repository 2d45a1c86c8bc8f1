"""The pages for other programs and for researchers leave out nothing that the code has."""

import re
from dataclasses import fields

from cases import check_each
from pages import ROOT, section, text_of

from clora_ext import Settings, strategies
from clora_ext.metrics.definitions import DEFINITIONS
from clora_ext.project.base import Base, BasePart
from clora_ext.project.litter import FOLDERS
from clora_ext.project.manifest import Manifest
from clora_ext.project.migrations import FORMAT_VERSION
from clora_ext.project.records import ConceptRecord, Image, State
from clora_ext.study.file import ConceptEntry, Evaluation, Grid, StrategyEntry, StudyFile
from clora_ext.study.forecast import Forecast
from clora_ext.study.shipped import SHIPPED

FORMAT = ROOT / "docs" / "project_format.md"
STRATEGIES = ROOT / "docs" / "strategies.md"


def test_every_field_of_the_manifest_stands_on_the_page_and_no_other() -> None:
    def check(record: type) -> None:
        table = section(FORMAT, record.__name__)
        rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        assert sorted(rows) == sorted(field.name for field in fields(record))

    check_each([Manifest, Base, BasePart, ConceptRecord, Image, State], check)


def test_every_key_of_a_study_file_and_every_figure_stands_on_its_page() -> None:
    page = text_of(ROOT / "docs" / "studies.md")
    tables = {"concepts": ConceptEntry, "strategies": StrategyEntry, "evaluation": Evaluation}
    tables |= {"grid": Grid, "forecasts": Forecast}
    keys = [f"{table}.{one.name}" for table, kind in tables.items() for one in fields(kind)]
    keys += [one.name for one in fields(StudyFile) if one.name not in tables]
    assert [key for key in (*keys, *DEFINITIONS) if f"`{key}`" not in page] == []
    assert [name for name in SHIPPED if f"| `{name}` |" not in page] == []


def test_every_folder_of_a_project_stands_on_the_page() -> None:
    tree = re.findall(r"^  (\w+)/", section(FORMAT, "The folder"), re.MULTILINE)
    rows = " ".join(re.findall(r"^\| (`.*?) \|", section(FORMAT, "The folder"), re.MULTILINE))
    assert set(FOLDERS) <= set(tree)
    assert [name for name in FOLDERS if f"`{name}`" not in rows] == []


def test_every_format_version_stands_on_the_page() -> None:
    rows = re.findall(r"^\| (\d+) \|", section(FORMAT, "Versions"), re.MULTILINE)
    assert rows == [str(number) for number in range(1, FORMAT_VERSION + 1)]
    assert f"This page describes format {FORMAT_VERSION}." in text_of(FORMAT)


def test_every_metadata_key_of_clora_stands_on_the_page() -> None:
    sources = (file.read_text(encoding="utf-8") for file in (ROOT / "clora_ext").rglob("*.py"))
    lines = (line for source in sources for line in source.splitlines() if re.match(r"[A-Z_, ]+ = ", line))
    keys = {key for line in lines for key in re.findall(r'"(clora\.[a-z_]+)"', line)}
    page = FORMAT.read_text(encoding="utf-8")
    assert len(keys) > 8
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_every_recommended_strategy_has_its_section_with_level_and_options() -> None:
    def check(name: str) -> None:
        text = section(STRATEGIES, f"`{name}`")
        level = strategies.load(name).state_level
        assert f"State level {level}." in text
        assert [option for option in strategies.option_fields(name) if option not in text] == []

    check_each(strategies.recommended(), check)


def test_every_strategy_for_comparison_has_its_row_with_level_options_and_paper() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section(STRATEGIES, "For comparison"), re.MULTILINE)
    said = dict(rows)
    assert sorted(said) == [name for name, _ in rows] == list(strategies.for_comparison())

    def check(name: str) -> None:
        assert f"| {strategies.load(name).state_level}" in said[name]
        assert "arxiv.org/abs/" in said[name]
        assert [option for option in strategies.option_fields(name) if f"`{option}" not in said[name]] == []

    check_each(said, check)


def test_every_strategy_stands_in_the_readme() -> None:
    text = section(ROOT / "README.md", "Strategies")
    said = re.findall(r"^\| `(\w+)`( \(default\))? \| \D", text, re.MULTILINE)  # not the table of figures
    assert sorted(name for name, _ in said) == list(strategies.recommended())
    assert [name for name in strategies.for_comparison() if f"`{name}`" not in text] == []
    assert [name for name, default in said if default] == [Settings().strategy]
