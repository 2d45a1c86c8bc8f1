"""Manifests that are damaged, do not fit together or are of a newer clora: every complaint says where."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import check_each
from small_projects import BASE, EXAMPLE, RECORD, taught

from clora_ext.errors import ProjectError
from clora_ext.project import FORMAT_VERSION, Manifest, Project, State

DEMO_PART = {"kind": "demo", "path": None, "sha256": "6" * 64}


MALFORMED: list[tuple[tuple[Any, ...], object, str]] = [
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
]


def test_a_complaint_names_the_field() -> None:
    def check(case: tuple[tuple[Any, ...], object, str]) -> None:
        way, value, named = case
        content = json.loads(EXAMPLE.encode())
        inner = content
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value
        with pytest.raises(ProjectError, match=re.escape(named)):
            Manifest.decode(json.dumps(content))

    check_each(MALFORMED, check)


def test_everything_that_is_wrong_is_reported_at_once() -> None:
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


def test_everything_that_does_not_fit_is_reported_at_once() -> None:
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


def test_nothing_may_be_missing() -> None:
    def check(name: str) -> None:
        content = json.loads(EXAMPLE.encode())
        del content[name]
        with pytest.raises(ProjectError, match=f"{name} is missing"):
            Manifest.decode(json.dumps(content))

    check_each(["base", "concepts", "states"], check)


NONSENSE = {
    "nothing": "",
    "null": "null",
    "a list": "[]",
    "half a table": "{",
    "not a number": '{"format_version": NaN}',
    "deep lists": "[" * 200_000,
    "deep tables": '{"a": ' * 100_000,
    "a long number": "9" * 5000,
    "a number too large": EXAMPLE.encode().replace('"rank": 4', '"rank": 1e999'),
    "infinity": EXAMPLE.encode().replace('"rank": 4', '"rank": Infinity'),
    "a field twice": EXAMPLE.encode().replace('"rank": 4', '"rank": 4, "rank": 5'),
}


def test_nonsense_is_a_project_error() -> None:
    def check(kind: str) -> None:
        with pytest.raises(ProjectError):
            Manifest.decode(NONSENSE[kind])

    check_each(NONSENSE, check)


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
