"""Projects of older formats go on: a project that clora 0.1.0 wrote, and manifests as they were then."""

import json
import shutil
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from small_projects import files
from small_runs import SETTINGS, snapshot

from clora_ext import (
    Pictures,
    Project,
    Request,
    add_concept,
    export_checkpoint,
    export_lora,
    make_plan,
    remove,
)
from clora_ext.config.recorded import settings_that_differ
from clora_ext.errors import BaseChanged, ProjectError, UsageError
from clora_ext.events import Event, Note, TrainStep
from clora_ext.evolving.model import Evolving
from clora_ext.families.sd1 import CONFIG_KEY
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import read_header
from clora_ext.project import Base, Manifest
from clora_ext.project.migrations import FORMAT_VERSION
from clora_ext.runs.context import open_evolving

STORED = Path(__file__).parent / "format_2"
FIRST = "9552a638cfe5df24550726466752ee2bfc6a10308f3cbae5601d2f1160928f70"
SECOND = "dd137e929749197ea3b646c14ca776ccc1d3a89fdb41b95630305c4b022c6365"
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
THIRD = SETTINGS.with_values(strategy="orthogonal", strategy_options={"mode": "paper"}, sample_steps=2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the stored project; its base is not where its manifest says."""
    return shutil.copytree(STORED / "project", tmp_path / "project")


@pytest.fixture
def at_home(project: Path) -> Path:
    """The same, with its base where its manifest says."""
    file = project / "manifest.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"/models/base.safetensors"', json.dumps(str(STORED / "base.safetensors"))))
    return project


def request(project: Path, images: str, **others: Any) -> Request:
    return Request(Pictures(STORED / images), project, **others)


def third(project: Path) -> Request:
    """What the stopped run of the stored project was asked for, and where its base lies now."""
    words = {"token": "sbu", "class_name": "cat"}
    return request(project, "cat", base=STORED / "base.safetensors", settings=THIRD, keep=2, **words)


def test_a_project_of_format_2_opens_and_stays_as_it_is(project: Path) -> None:
    before = files(project)
    opened = Project.open(project)
    opened.verify()
    assert opened.tokens == ("sks", "zwz")
    assert (opened.number, opened.undoable) == (2, 2)
    assert opened.base == Base.of_checkpoint("sd1", "file", "/models/base.safetensors", BASE)
    first, second = opened.concepts
    assert first.settings == NESTED
    text_encoder = {**NESTED["adapter"], "text_encoder": True}  # type: ignore[dict-item]  # it is a table
    assert second.settings == NESTED | {"strategy": "naive", "adapter": text_encoder}
    with pytest.raises(ProjectError, match=r"/models/base\.safetensors is gone"):
        opened.base_file()
    with Project.writing(project):
        pass
    assert files(project) == before


def test_status_of_a_project_of_format_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clora,) = entry_points(group="console_scripts", name="clora")
    assert clora.load()(["status", "--project", str(project), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)["result"]
    path = "/models/base.safetensors"
    unrecorded = {"prediction": None, "zero_snr": None, "variant": None}
    assert status["base"] == {"kind": "file", "path": path, "sha256": BASE, "family": "sd1"} | unrecorded
    assert status["content_hash"] == SECOND
    assert [concept["settings"]["schedule"]["steps"] for concept in status["concepts"]] == [6, 6]


def test_what_was_learned_in_format_2_counts_as_learned(project: Path) -> None:
    first, second = Project.open(project).concepts
    merge = SETTINGS.with_values(strategy="merge")
    naive = SETTINGS.with_values(strategy="naive", text_encoder=True)
    assert settings_that_differ(first.settings, merge.as_dict()) == []
    assert settings_that_differ(first.settings, merge.with_values(sample_steps=2).as_dict()) == []
    assert settings_that_differ(second.settings, naive.as_dict()) == []
    assert settings_that_differ(second.settings, merge.as_dict()) == ["strategy", "text_encoder"]


def test_the_same_pictures_are_not_taught_again(project: Path) -> None:
    before = snapshot(project)
    events: list[Event] = []
    base = STORED / "base.safetensors"
    merge, naive = (SETTINGS.with_values(strategy=strategy) for strategy in ("merge", "naive"))
    again = add_concept(request(project, "dog", base=base, settings=merge), events.append)
    assert (again.number, again.content_hash) == (1, SECOND)
    assert any(isinstance(event, Note) and "taught already" in event.text for event in events)
    with pytest.raises(UsageError, match=r"concept 2 already \(zwz toy\), taught with another text_encoder"):
        add_concept(request(project, "toy", base=base, settings=naive))
    assert snapshot(project) == before


@pytest.mark.long
def test_an_old_training_state_is_not_resumed_and_goes_with_the_commit(project: Path) -> None:
    assert (project / "training" / "003" / "state.safetensors").is_file()
    asked = third(project)
    assert make_plan(asked).resume_step == 0
    steps: list[int] = []

    def sink(event: Event) -> None:
        if isinstance(event, TrainStep):
            steps.append(event.step)

    add_concept(asked, sink)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert list((project / "training").iterdir()) == []


def test_a_project_of_format_2_learns_and_goes_back(project: Path) -> None:
    add_concept(third(project))
    file = project / "manifest.json"
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["format_version"] == FORMAT_VERSION == 6
    (part,) = content["base"]["parts"].values()
    assert part == {"kind": "file", "path": str(STORED / "base.safetensors"), "sha256": BASE}
    assert (content["base"]["prediction"], content["base"]["zero_snr"]) == ("epsilon", False)
    assert Manifest.decode(text).encode() == text
    assert [c["parent_hash"] for c in content["concepts"]] == [BASE, FIRST, SECOND]
    for content_hash in (SECOND, FIRST):
        with Project.writing(project) as opened:
            opened.undo()
        current = Project.open(project).current
        assert current is not None
        assert current.content_hash == content_hash
    Project.open(project).verify()


def test_a_project_of_format_3_goes_on_with_what_its_base_predicts(tmp_path: Path) -> None:
    stored = STORED.parent / "format_3"
    project = shutil.copytree(stored / "project", tmp_path / "project")
    asked = Request(
        Pictures(STORED / "toy"),
        project,
        base=stored / "base.safetensors",
        token="zwz",
        class_name="toy",
        settings=SETTINGS.with_values(strategy="mask"),
        keep=2,
    )
    before = Project.open(project)
    assert before.base is not None
    assert (before.base.prediction, before.base.zero_snr) == (None, None)
    plan = make_plan(asked)
    assert (plan.context.prediction.kind, plan.context.prediction.source) == ("v", CONFIG_KEY)
    assert plan.resume_step == 0  # a training state of that time is not gone on with
    assert add_concept(asked).number == 2
    content = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert content["format_version"] == FORMAT_VERSION
    assert (content["base"]["prediction"], content["base"]["zero_snr"]) == ("v", False)
    assert content["concepts"][0] == json.loads((stored / "project" / "manifest.json").read_text())[
        "concepts"
    ][0] | {"delta": None, "reweighting": None}
    exported = export_checkpoint(project, tmp_path / "model.safetensors")
    assert "v_pred" in read_header(exported.path).tensors
    with Project.writing(project) as opened:
        opened.undo()
    Project.open(project).verify()


@pytest.mark.long
def test_a_project_of_format_4_keeps_a_change_and_takes_it_out_again(tmp_path: Path) -> None:
    stored = STORED.parent / "format_4"
    project = shutil.copytree(stored / "project", tmp_path / "project")
    before = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert before["format_version"] == 4
    (old,) = Project.open(project).concepts
    assert (old.delta, old.reweighting, Project.open(project).weights) == (None, None, {1: 1.0})
    asked = Request(
        Pictures(STORED / "toy"),
        project,
        base=stored.parent / "format_3" / "base.safetensors",
        token="zwz",
        class_name="toy",
        settings=SETTINGS.with_values(strategy="merge"),
        keep_delta=True,
    )
    add_concept(asked)
    remove(project, "zwz")
    with pytest.raises(UsageError, match=r"concept 1, sks dog, .* its change was not kept"):
        remove(project, "sks")
    after = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert after["format_version"] == FORMAT_VERSION
    assert after["concepts"][0] == before["concepts"][0] | {"delta": None, "reweighting": None}
    assert Project.open(project).tokens == ("sks",)
    evolving = open_evolving(Project.open(project))
    then = Checkpoint(stored / "project" / "checkpoints" / "99320438b0f650b3.safetensors")
    memory = Checkpoint(stored / "project" / "memory" / "99320438b0f650b3.safetensors")
    for name in evolving.changed_tensors:
        value = Evolving(None, then, memory).weight(name)
        torch.testing.assert_close(evolving.weight(name), value, rtol=0, atol=2e-7)


def test_a_manifest_of_format_5_knows_no_variant() -> None:
    """Written by the code of format 5 for a Z-Image of which the user had said that it is Turbo."""
    text = (STORED.parent / "format_5.json").read_text(encoding="utf-8")
    manifest = Manifest.decode(text)
    base = manifest.base
    assert (base.family, base.variant) == ("z_image", None)
    assert base.companions == {
        "text_encoder": Path("/models/text_encoders/qwen_3_4b.safetensors"),
        "vae": Path("/models/vae/ae.safetensors"),
    }
    old, new = json.loads(text), json.loads(manifest.encode())
    assert new == old | {"format_version": FORMAT_VERSION, "base": old["base"] | {"variant": None}}


def test_undoing_in_format_2_leaves_the_state_before(project: Path) -> None:
    stored = snapshot(project)
    with Project.writing(project) as opened:
        assert opened.undo().token == "zwz"
    left = snapshot(project)
    first = f"{FIRST[:16]}.safetensors"
    for name in (f"checkpoints/{first}", f"memory/{first}", "sheets/001-sks-dog.png"):
        assert left[name] == stored[name]
    assert len(left) == 4
    assert json.loads(left["manifest.json"])["format_version"] == FORMAT_VERSION


def test_a_project_of_format_2_is_exported_as_it_was(at_home: Path, tmp_path: Path) -> None:
    before = files(at_home)
    exported = export_checkpoint(at_home, tmp_path / "model.safetensors")
    assert exported.content_hash == SECOND
    export_lora(at_home, tmp_path / "lora.safetensors", rank=2)
    assert files(at_home) == before


def test_another_base_is_refused(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "base.safetensors"
    content = bytearray((STORED / "base.safetensors").read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    before = snapshot(project)
    with pytest.raises(BaseChanged, match=BASE):
        add_concept(replace(third(project), base=other))
    assert snapshot(project) == before
