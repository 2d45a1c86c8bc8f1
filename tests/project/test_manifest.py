"""The manifest: the same back, whatever it holds; only ProjectError, whatever was done to it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_projects import EXAMPLE, taught

from clora_ext.data import Concept
from clora_ext.errors import ProjectError
from clora_ext.project import Base, BasePart, ConceptRecord, Image, Manifest, State
from clora_ext.project.values import line

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
LINES = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() and text.strip())
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(TEXTS, JSON, max_size=3)
IMAGES = st.builds(
    Image,
    TEXTS.filter(lambda name: name not in {"", ".", ".."} and "/" not in name),
    HASHES,
    TEXTS,
)
PARTS = st.builds(BasePart, st.just("file"), TEXTS.filter(bool), HASHES) | st.builds(
    BasePart, st.just("demo"), st.none(), HASHES
)
LOSSES = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    others = draw(st.dictionaries(st.sampled_from(["vae", "text_encoder"]), PARTS, max_size=2))
    base = Base("sd1", {draw(st.sampled_from(["checkpoint", "transformer"])): draw(PARTS), **others})
    tokens = draw(st.lists(LINES, max_size=4, unique_by=str.casefold))
    concepts: list[ConceptRecord] = []
    for number, token in enumerate(tokens, start=1):
        concepts.append(
            ConceptRecord(
                number,
                token,
                draw(LINES),
                tuple(draw(st.lists(IMAGES, max_size=2))),
                draw(HASHES),
                draw(LINES),
                draw(TABLES),
                draw(st.sampled_from(["L0", "L1", "L2"])),
                draw(TABLES),
                draw(st.integers()),
                concepts[-1].content_hash if concepts else base.sha256,
                draw(HASHES),
                draw(LOSSES),
                draw(LOSSES),
                draw(st.none() | st.just(f"{number:03d}-a-b.png")),
                "2026-01-31T12:00:00+00:00",
                draw(LINES),
            )
        )
    kept = draw(st.integers(1, len(concepts))) if concepts else 0
    states = tuple(
        State(c.number, c.content_hash, f"{c.number:016x}.safetensors", f"{c.number:016x}-2.safetensors")
        for c in concepts[len(concepts) - kept :]
    )
    return Manifest(base, tuple(concepts), states)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@given(manifests())
def test_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    text = manifest.encode()
    text.encode("utf-8")
    assert Manifest.decode(text) == manifest
    assert Manifest.decode(text).encode() == text
    assert text.endswith("}\n")


@given(st.data())
def test_changed_manifest_gives_only_project_errors(data: st.DataObject) -> None:
    content = json.loads(data.draw(manifests()).encode())
    way = data.draw(st.sampled_from(places(content)))
    new = data.draw(JSON | st.sampled_from(["../../x", "/etc/passwd", -1, 10**400, True, {}, [], None]))
    if way:
        inner = content
        for key in way[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[way[-1]] = new
        else:
            del inner[way[-1]]
    else:
        content = new
    try:
        manifest = Manifest.decode(json.dumps(content))
    except ProjectError as error:
        assert error.fix
    else:
        assert Manifest.decode(manifest.encode()) == manifest


@given(st.binary(max_size=200), st.integers(0, 3000), st.integers(0, 60))
def test_damaged_bytes_give_only_project_errors(noise: bytes, start: int, length: int) -> None:
    text = EXAMPLE.encode().encode()
    damaged = text[:start] + noise + text[start + length :]
    with suppress(ProjectError, UnicodeDecodeError):
        Manifest.decode(damaged.decode("utf-8"))


def test_manifest_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = taught(tmp_path / "a", 2), taught(tmp_path / "b", 2)
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


def test_the_manifest_keeps_every_token_that_a_concept_may_have() -> None:
    """A composed emoji holds a joiner, which does not print; refused at the commit, a training is lost."""
    token = Concept("\U0001f469\u200d\U0001f3a8", "dog").token
    assert line(token) == token
    with pytest.raises(ValueError, match="not printable"):
        line("a\u202e")
