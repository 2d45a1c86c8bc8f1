"""Inputs of nodes that come from the settings' knobs, and what becomes of their values."""

import sys
from pathlib import Path
from typing import Any

import pytest
from calling_nodes import start, taught
from fake_comfy import Comfy, InterruptProcessingException
from small_runs import pictures

from clora_ext import Pictures, Project, Request, Settings
from clora_ext.config.knob_fields import knob_fields
from clora_ext.errors import SettingsError, UsageError

# As stored workflows have them: a widget's value is found by its place.
ADD_CONCEPT = {
    "project": None, "dataset": None, "strategy": "distill", "preset": "balanced", "steps": 0, "rank": 0,
    "learning_rate": 0.0, "seed": 0, "resolution": 0, "text_encoder": False, "sample_prompt": "",
    "preview_every": 50, "copy_to": "", "strategy_options": "",
    "batch_size": 0, "gradient_checkpointing": False, "memory": 0.0,
}  # fmt: skip
ADD_LORA = {
    "project": None, "lora": None, "strategy": "distill", "weight": 1.0, "token": "", "class_name": "",
    "copy_to": "", "strategy_options": "",
}  # fmt: skip


@pytest.fixture
def knobs(pack: Any) -> Any:
    return sys.modules[f"{pack.module.__name__}.comfyui_nodes.knobs"]


def test_stored_workflows_find_their_inputs_in_their_places(pack: Any) -> None:
    for node, stored, optional in ((pack.AddConcept, ADD_CONCEPT, 5), (pack.AddLora, ADD_LORA, 2)):
        inputs = node.define_schema().inputs
        assert {socket.id: socket.options.get("default") for socket in inputs} == stored
        assert [socket.id for socket in inputs] == list(stored)
        assert [socket.id for socket in inputs if socket.options.get("optional")] == list(stored)[-optional:]


def test_every_knob_can_be_shown_by_a_node(knobs: Any) -> None:
    for name, field in knob_fields(Settings).items():
        socket = knobs.knob_input(name)
        assert socket.id == name
        assert socket.options["tooltip"].startswith(field.knob.help)
        given = knobs.requested_values({name: socket.options["default"]})
        assert given == ({} if field.optional or field.default_words else {name: field.default})


def test_an_input_has_the_limits_of_its_knob(knobs: Any) -> None:
    seed, rank = knobs.knob_input("seed"), knobs.knob_input("rank")
    assert (seed.kind, seed.options["min"], seed.options["max"]) == ("INT", 0, 2**63 - 1)
    assert (rank.options["min"], rank.options["max"], rank.options["default"]) == (0, 4096, 0)
    assert rank.options["tooltip"] == "Rank of the LoRA. 0: as suits the model."
    decay = knobs.knob_input("weight_decay")
    assert (decay.kind, decay.options["min"], decay.options["default"]) == ("FLOAT", 0.0, 1e-4)
    assert knobs.knob_input("gradient_accumulation_steps").options["min"] == 1


def test_choices_begin_with_leaving_it_to_the_model(knobs: Any) -> None:
    socket = knobs.knob_input("targets")
    assert socket.options["options"] == ["as suits the model", "attention", "transformer"]
    assert knobs.requested_values({"targets": "as suits the model"}) == {}
    assert knobs.requested_values({"targets": "attention"}) == {"targets": "attention"}


def test_what_is_left_alone_is_not_asked_for(knobs: Any) -> None:
    left = {"steps": 0, "learning_rate": 0.0, "resolution": 0, "sample_prompt": "  ", "rank": 0}
    own = {"seed": 0, "text_encoder": False, "preview_every": 0}
    assert knobs.requested_values({**left, **own}) == own
    given = {"steps": 3, "learning_rate": 0.1, "resolution": 64, "sample_prompt": " a dog ", "rank": 2}
    assert knobs.requested_values(given) == {**given, "sample_prompt": "a dog"}


@pytest.mark.long
def test_what_the_node_says_is_what_is_taught(pack: Any) -> None:
    options = {"strategy": "orthogonal", "strategy_options": "\nmode = paper\n"}
    memory = {"batch_size": 2, "gradient_checkpointing": True}
    record = Project.open(taught(pack, steps=2, rank=3, **options, **memory)[3].folder).concepts[0]
    assert (record.strategy, dict(record.strategy_options)) == ("orthogonal", {"mode": "paper"})
    assert (record.settings["adapter"]["rank"], record.settings["schedule"]["steps"]) == (3, 2)
    assert record.settings["sampling"]["preview_every"] == 0
    assert record.settings["data"]["batch_size"] == 2
    assert record.settings["compute"]["gradient_checkpointing"] is True


def test_a_training_is_made_to_fit_a_card_and_what_was_chosen_stays(
    pack: Any, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teaching = sys.modules[f"{pack.module.__name__}.comfyui_nodes.teach"]
    settings = Settings.of(resolution=256, batch_size=8)
    request = Request(Pictures(pictures(tmp_path / "dogs")), tmp_path / "model", base=tiny, settings=settings)

    def fitted(**chosen: Any) -> tuple[bool, int]:
        caplog.clear()
        found = teaching._fitted(request, 1.0, chosen).settings
        return found.compute.gradient_checkpointing, found.data.batch_size

    with caplog.at_level("INFO"):
        assert fitted(gradient_checkpointing=False) == (True, 2)
        assert "clora: for 1 GB: gradient checkpointing" in caplog.text
        assert "clora: for 1 GB: 2 batches of 4" in caplog.text
        assert fitted(batch_size=8) == (True, 8)
        assert "it takes more than 1 GB" in caplog.text
    assert teaching._fitted(request, 0.0, {}) is request
    with pytest.raises(UsageError, match=r"memory 0\.5 is no number of GB"):
        taught(pack, memory=0.5)


def test_wrong_options_of_a_strategy_are_refused(pack: Any) -> None:
    with pytest.raises(SettingsError, match="did you mean 'paper'"):
        taught(pack, strategy="orthogonal", strategy_options="mode=papr")
    with pytest.raises(SettingsError, match="'mask' has no option 'mode'"):
        taught(pack, strategy_options="mode=paper")


@pytest.mark.long
def test_extracting_a_lora_shows_its_progress_and_can_be_cancelled(pack: Any, comfy: Comfy) -> None:
    project = taught(pack, steps=2)[3]
    comfy.bars.clear()
    pack.ExportLora.execute(project, "whole", 4)
    (bar,) = comfy.bars
    assert bar.current == bar.total > 1
    comfy.interrupt_when(2)
    with pytest.raises(InterruptProcessingException):
        pack.ExportLora.execute(project, "half", 4)
    assert not list((comfy.base / "output" / "loras").glob("half*"))


@pytest.mark.long
def test_a_loras_strategy_has_options_too(pack: Any, comfy: Comfy) -> None:
    project = taught(pack, steps=2)[3]
    file = pack.ExportLora.execute(project, "mine", 4).args[0]
    link = comfy.base / "models" / "loras" / "mine.safetensors"
    link.symlink_to(file)
    words = {"strategy": "orthogonal", "weight": 1.0, "token": "twt", "class_name": "dog"}
    made = pack.AddLora.execute(start(pack, "other"), link.name, **words, strategy_options="mode=paper").args[
        3
    ]
    assert dict(Project.open(made.folder).concepts[0].strategy_options) == {"mode": "paper"}
    with pytest.raises(SettingsError, match="'mode'"):
        pack.AddLora.execute(start(pack, "third"), link.name, **words, strategy_options="mod=paper")
