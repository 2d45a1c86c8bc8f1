"""Manifests of older formats are read, whatever is wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import check_each

from clora_ext.errors import ProjectError
from clora_ext.project import Manifest
from clora_ext.project.migrations import FORMAT_VERSION, migrated

STORED = Path(__file__).parent / "format_2"
BASE = "f15c90308c53e0bfbb018bac25b6ffcb48fc0b55d5f93a8002f575ab907eddfb"
NESTED = {
    "strategy": "merge",
    "strategy_options": {},
    "seed": 3,
    "adapter": {"rank": 4, "alpha": None, "targets": "attention", "text_encoder": False},
    "optimizer": {"learning_rate": 0.002, "weight_decay": 0.0001, "max_grad_norm": 1.0},
    "schedule": {"steps": 6, "warmup_steps": 2},
    "data": {"batch_size": 2, "resolution": None},
    "compute": {"gradient_checkpointing": False},
}


def flat(**changes: Any) -> dict[str, Any]:
    """Settings of a record of format 2."""
    groups = (
        value.items() if isinstance(value, dict) and value else [(n, value)] for n, value in NESTED.items()
    )
    return {**{name: value for group in groups for name, value in group}, **changes}


def old_manifest(version: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stored manifest's first concept, in an older format and with other settings."""
    content: dict[str, Any] = json.loads((STORED / "project" / "manifest.json").read_text(encoding="utf-8"))
    concept = content["concepts"][0] | {"settings": dict(settings)}
    return content | {"format_version": version, "concepts": [concept], "states": content["states"][:1]}


def test_a_manifest_of_format_1_is_read() -> None:
    """The file was written by the code of format 1."""
    text = (STORED.parent / "format_1.json").read_text(encoding="utf-8")
    manifest = Manifest.decode(text)
    assert manifest.base.main.path == "/models/base.safetensors"
    assert [concept.settings for concept in manifest.concepts] == [
        {
            "strategy": strategy,
            "strategy_options": options,
            "seed": seed,
            "adapter": {"rank": 8, "alpha": None, "targets": "attention", "text_encoder": False},
            "optimizer": {"learning_rate": 0.001, "weight_decay": 0.0001, "max_grad_norm": 1.0},
            "schedule": {"steps": steps, "warmup_steps": 10},
            "data": {"batch_size": 8, "resolution": resolution},
            "compute": {"gradient_checkpointing": False},
        }
        for strategy, options, seed, steps, resolution in (
            ("mask", {}, 0, 200, None),
            ("orthogonal", {"mode": "paper"}, 3, 50, 64),
        )
    ]
    before, after = json.loads(text), json.loads(manifest.encode())
    for concept in (*before["concepts"], *after["concepts"]):
        del concept["settings"]
    unkept = {"delta": None, "reweighting": None}
    assert after["concepts"] == [concept | unkept for concept in before["concepts"]]
    assert after["states"] == before["states"]
    assert after["base"]["parts"]["checkpoint"] | {"family": after["base"]["family"]} == before["base"]


def test_what_format_1_did_not_have_gets_what_was_done_then() -> None:
    settings = flat()
    for name in ("targets", "text_encoder", "gradient_checkpointing"):
        del settings[name]

    def check(version: int) -> None:
        manifest = Manifest.decode(json.dumps(old_manifest(version, settings)))
        assert manifest.concepts[0].settings == NESTED
        assert manifest.format_version == FORMAT_VERSION

    check_each([1, 2], check)


def test_a_folded_lora_keeps_its_record() -> None:
    settings = {"lora": "mine.safetensors", "weight": 0.5, "dialect": "kohya"}
    manifest = Manifest.decode(json.dumps(old_manifest(2, settings)))
    assert manifest.concepts[0].settings == settings


def test_a_setting_that_no_version_had_is_not_lost() -> None:
    manifest = Manifest.decode(json.dumps(old_manifest(2, flat(momentum=0.9))))
    assert manifest.concepts[0].settings == NESTED | {"momentum": 0.9}


def test_migrating_changes_nothing_that_it_was_given() -> None:
    content = old_manifest(1, flat())
    text = json.dumps(content)
    migrated(content)
    assert json.dumps(content) == text


DAMAGED: list[tuple[dict[str, Any], str]] = [
    ({"base": None}, r"\.base is not a table"),
    ({"base": {}}, r"\.base\.parts\.checkpoint\.sha256 is missing"),
    ({"base": {"kind": "web"}}, r"\.base\.parts\.checkpoint\.kind is 'web'"),
    ({"base": {"extra": 1}}, r"\.base\.'extra' is not a field"),
    ({"concepts": {}}, r"\.concepts is not a list"),
    ({"concepts": [5, None]}, r"\.concepts\[1\] is not a table"),
    ({"concepts": [{"settings": 5}]}, r"\.concepts\[0\]\.settings is not a table"),
    ({"extra": 1}, r"\.'extra' is not a field"),
]


def test_a_complaint_about_an_old_manifest_names_the_field() -> None:
    def check(case: tuple[int, dict[str, Any], str]) -> None:
        version, change, named = case
        with pytest.raises(ProjectError, match=named):
            Manifest.decode(json.dumps(old_manifest(version, flat()) | change))

    check_each([(version, *damage) for version in (1, 2) for damage in DAMAGED], check)
