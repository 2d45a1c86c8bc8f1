"""The documents that people read, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


def documents() -> list[Path]:
    """Every page in Markdown, tests' own aside."""
    folders = ("docs", "examples", "comfyui_nodes")
    return sorted([*ROOT.glob("*.md"), *(file for name in folders for file in (ROOT / name).rglob("*.md"))])


def text_of(page: Path) -> str:
    """What stands on it outside of fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def shell_lines(page: Path) -> list[str]:
    """The lines of its blocks for a shell."""
    blocks = _FENCED.findall(page.read_text(encoding="utf-8"))
    return [line for language, block in blocks if language == "sh" for line in block.splitlines()]


def code_spans(page: Path) -> list[str]:
    """What stands between single backticks, each in one line."""
    return [" ".join(span.split()) for span in _INLINE.findall(text_of(page))]


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next heading of any level."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page.name} has no section {heading!r}"
    return found[1]


def anchors(page: Path) -> set[str]:
    """Of its headings, as web hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
