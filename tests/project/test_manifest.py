"""The manifest: the same back, whatever it holds; only ProjectError, whatever was done to it."""

import json
import math
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_projects import BASE, taught

from clora_ext.data import Concept
from clora_ext.errors import ProjectError
from clora_ext.project import FORMAT_VERSION, Base, BasePart, ConceptRecord, Image, Manifest, Project, State
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


RECORD = ConceptRecord(
    1, "sks", "dog", (Image("a.png", "1" * 64, "a"),), "2" * 64, "mask", {}, "L0", {"rank": 4}, 1,
    BASE.sha256, "3" * 64, 0.5, 0.25, "001-sks-dog.png", "2026-01-31T12:00:00+00:00", "0.1.0",
)  # fmt: skip
EXAMPLE = Manifest(
    BASE, (RECORD,), (State(1, "3" * 64, "3" * 16 + ".safetensors", "3" * 16 + ".safetensors"),)
)


DEMO_PART = {"kind": "demo", "path": None, "sha256": "6" * 64}


@pytest.mark.parametrize(
    ("way", "value", "named"),
    [
        (("states", 0, "checkpoint"), "../../etc/passwd.safetensors", "states[0].checkpoint"),
        (("states", 0, "memory"), "3333333333333333.safetensors\n", "states[0].memory"),
        (("states", 0, "checkpoint"), "٣" * 16 + ".safetensors", "states[0].checkpoint"),
        (("states", 0, "number"), True, "states[0].number"),
        (("states", 0, "content_hash"), "4" * 64, "states[0].content_hash"),
        (("states",), [], "states"),
        (("concepts",), [], "states"),
        (("concepts", 0, "sheet"), "002-sks-dog.png", "concepts[0].sheet"),
        (("concepts", 0, "sheet"), "001-../x.png", "concepts[0].sheet"),
        (("concepts", 0, "images", 0, "name"), "../a.png", "images[0].name"),
        (("concepts", 0, "images", 0, "sha256"), "1", "images[0].sha256"),
        (("concepts", 0, "parent_hash"), "5" * 64, "concepts[0].parent_hash"),
        (("concepts", 0, "state_level"), "L3", "concepts[0].state_level"),
        (("concepts", 0, "token"), "\x1b[2J", "concepts[0].token"),
        (("concepts", 0, "created"), "yesterday", "concepts[0].created"),
        (("concepts", 0, "first_loss"), "low", "concepts[0].first_loss"),
        (("concepts", 0, "seed"), 1.5, "concepts[0].seed"),
        (("concepts", 0, "first_loss"), True, "concepts[0].first_loss"),
        (("concepts", 0, "first_loss"), 10**400, "concepts[0].first_loss"),
        (("concepts", 0, "settings"), [], "concepts[0].settings"),
        (("concepts", 0, "class_name"), "a\0b", "concepts[0].class_name"),
        (("concepts", 0, "images"), {"0": {}}, "concepts[0].images"),
        (("concepts", 0), None, "concepts[0]"),
        (("concepts", 0, "\ud800"), 1, "concepts[0] has a field whose name is not Unicode: '\\ud800'"),
        (("base",), [], "base"),
        (("base", "family"), "../sd1", "base.family"),
        (("base", "extra"), 1, "base.'extra'"),
        (("base", "parts"), {}, "base.parts has no part called checkpoint"),
        (("base", "parts", "../vae"), DEMO_PART, "base.parts.'../vae'"),
        (("base", "parts", "\ud800"), DEMO_PART, "is malformed: '\\ud800'"),
        (("base", "parts", "vae"), {**DEMO_PART, "kind": "file"}, "base.parts.vae.path"),
        (("base", "parts", "checkpoint", "kind"), "web", "base.parts.checkpoint.kind"),
        (("base", "parts", "checkpoint", "path"), "x", "base.parts.checkpoint.path"),
        (("base", "parts", "checkpoint", "extra"), 1, "base.parts.checkpoint.'extra'"),
        (("format_version",), 0, "format_version"),
    ],
)
def test_complaint_names_the_field(way: tuple[Any, ...], value: object, named: str) -> None:
    content = json.loads(EXAMPLE.encode())
    inner = content
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    with pytest.raises(ProjectError, match=re.escape(named)):
        Manifest.decode(json.dumps(content))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    content = json.loads(EXAMPLE.encode())
    del content["states"][0]["memory"]
    content["base"]["parts"]["checkpoint"]["sha256"] = "short"
    content["concepts"][0] |= {"seed": True, "token": "", "rating": 5, "settings": {"a": [{"b": math.inf}]}}
    text = json.dumps(content).replace("Infinity", "1e999")
    with pytest.raises(ProjectError) as caught:
        Manifest.decode(text, "my/manifest.json")
    assert sorted(caught.value.message.splitlines()) == [
        "my/manifest.json.base.parts.checkpoint.sha256 is malformed: 'short'",
        "my/manifest.json.concepts[0].'rating' is not a field that clora knows",
        "my/manifest.json.concepts[0].seed is not a whole number that can stand there: True",
        "my/manifest.json.concepts[0].settings holds a number that is not finite, at 'a'[0].'b'",
        "my/manifest.json.concepts[0].token is empty or not printable: ''",
        "my/manifest.json.states[0].memory is missing",
    ]
    assert "backup" in caught.value.fix


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    content = json.loads(EXAMPLE.encode())
    content["concepts"][0] |= {"number": 2, "parent_hash": "5" * 64}
    content["states"][0]["content_hash"] = "4" * 64
    with pytest.raises(ProjectError) as caught:
        Manifest.decode(json.dumps(content))
    places = [line.split(" ")[0] for line in caught.value.message.splitlines()]
    assert places == [
        "manifest.json.concepts[0].number",
        "manifest.json.concepts[0].parent_hash",
        "manifest.json.concepts[0].sheet",
        "manifest.json.states[0].content_hash",
    ]


def test_a_long_list_of_problems_is_cut() -> None:
    content = json.loads(EXAMPLE.encode()) | {f"extra{number}": 1 for number in range(1000)}
    with pytest.raises(ProjectError, match="and 980 more problems") as caught:
        Manifest.decode(json.dumps(content))
    assert len(caught.value.message.splitlines()) == 21


@pytest.mark.parametrize("name", ["base", "concepts", "states"])
def test_nothing_may_be_missing(name: str) -> None:
    content = json.loads(EXAMPLE.encode())
    del content[name]
    with pytest.raises(ProjectError, match=f"{name} is missing"):
        Manifest.decode(json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"format_version": NaN}', "[" * 200_000, '{"a": ' * 100_000, "9" * 5000,
     EXAMPLE.encode().replace('"rank": 4', '"rank": 1e999'),
     EXAMPLE.encode().replace('"rank": 4', '"rank": Infinity'),
     EXAMPLE.encode().replace('"rank": 4', '"rank": 4, "rank": 5')],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_nonsense_is_a_project_error(text: str) -> None:
    with pytest.raises(ProjectError):
        Manifest.decode(text)


def test_two_concepts_never_share_a_token() -> None:
    second = replace(RECORD, number=2, token="SKS", parent_hash="3" * 64, content_hash="4" * 64, sheet=None)
    state = State(2, "4" * 64, "4" * 16 + ".safetensors", "4" * 16 + ".safetensors")
    text = Manifest(BASE, (RECORD, second), (state,)).encode()
    with pytest.raises(ProjectError, match=r"concepts\[1\]\.token"):
        Manifest.decode(text)


def test_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    file = folder / "manifest.json"
    file.write_text(json.dumps({"format_version": FORMAT_VERSION + 1, "anything": "else"}))
    for opening in (Project.open, lambda f: Project.writing(f).__enter__()):
        with pytest.raises(ProjectError, match="newer clora") as caught:
            opening(folder)
        assert "upgrade" in caught.value.fix
        assert "does not know: 'anything'" in caught.value.message
    assert len(list((folder / "checkpoints").iterdir())) == 1  # nothing was swept


def test_fields_of_a_newer_format_are_named_once() -> None:
    content = json.loads(EXAMPLE.encode()) | {"format_version": FORMAT_VERSION + 1}
    content["base"]["parts"]["checkpoint"]["revision"] = "main"
    content["concepts"] = [{**content["concepts"][0], "rating": 5}] * 3
    with pytest.raises(ProjectError) as caught:
        Manifest.decode(json.dumps(content))
    assert caught.value.message.endswith("does not know: base.parts.checkpoint.'revision', concepts.'rating'")
    content = json.loads(EXAMPLE.encode()) | {"format_version": FORMAT_VERSION + 1}
    with pytest.raises(ProjectError, match=r"this one reads \d+\)\n"):
        Manifest.decode(json.dumps(content))


def test_manifest_that_is_no_text_is_a_project_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ProjectError, match="UTF-8"):
        Project.open(tmp_path)


def test_manifest_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = taught(tmp_path / "a", 2), taught(tmp_path / "b", 2)
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


def test_what_a_concept_may_be_called_the_manifest_can_keep() -> None:
    """A composed emoji holds a joiner, which does not print; refused at the commit, a training is lost."""
    token = Concept("\U0001f469\u200d\U0001f3a8", "dog").token
    assert line(token) == token
    with pytest.raises(ValueError, match="not printable"):
        line("a\u202e")
