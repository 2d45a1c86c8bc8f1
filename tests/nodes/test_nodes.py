"""What every node does, on a tiny real model; only ComfyUI itself is a stand-in."""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from calling_nodes import batch, same, start, state, taught
from fake_comfy import Bar, Comfy, ExecutionBlocker, InterruptProcessingException
from PIL import Image

from clora_ext import Project
from clora_ext.errors import (
    UsageError,
)
from clora_ext.project.concept_files import concept_files
from clora_ext.project.outcome import Drift, Estimate, Kept, Outcome


def test_pictures_of_different_sizes_come_through_inputs_of_their_own(pack: Any) -> None:
    words = {"token": "", "class_name": "dog", "captions": "one\ntwo\nthree\nfour"}
    wide = torch.rand(1, 32, 48, 3)
    found = pack.DatasetFromImages.execute(batch(2), **words, images_3=batch(1, seed=1), images_2=wide).args[
        0
    ]
    sizes = []
    for file in sorted(found.folder.glob("*.png")):
        with Image.open(file) as picture:
            sizes.append(picture.size)
    assert sizes == [(32, 32), (32, 32), (48, 32), (32, 32)]
    assert (found.folder / "0003.txt").read_text(encoding="utf-8") == "three\n"


@pytest.mark.long
def test_a_concept_goes_from_pictures_to_a_model(pack: Any, comfy: Comfy) -> None:
    model, clip, vae, project, triggers, sheet, report = taught(pack)
    assert triggers == "sks dog"
    assert Project.open(project.folder).tokens == ("sks",)
    assert project.folder == comfy.base / "output" / "clora" / "mine"
    assert sheet.shape[0] == 1
    assert sheet.shape[3] == 3
    assert len(report.losses) == 4
    assert clip[0] == "clip"
    assert vae[0] == "vae"
    assert model.patches


@pytest.mark.long
def test_the_model_in_memory_equals_the_saved_file(pack: Any) -> None:
    model, _, _, project, *_ = taught(pack)
    saved = state(project)
    for name, weight in model.effective().items():
        assert torch.equal(weight, saved[f"model.{name}"]), name


@pytest.mark.long
def test_a_second_concept_patches_what_came_along_the_wire(pack: Any) -> None:
    *_, first, _, _, _ = taught(pack)
    first = taught(pack)[3]
    model, _, _, second, triggers, *_ = taught(pack, first, seed=1)
    assert triggers.splitlines() == ["sks dog", "zwz dog"]
    saved = state(second)
    assert all(torch.equal(w, saved[f"model.{n}"]) for n, w in model.effective().items())


@pytest.mark.long
def test_the_text_encoder_is_read_anew_when_it_was_taught(pack: Any) -> None:
    _, clip, _, project, *_ = taught(pack, text_encoder=True)
    assert clip == ("clip", str(project.checkpoint))


@pytest.mark.long
def test_progress_and_previews_are_shown(pack: Any, comfy: Comfy) -> None:
    taught(pack, preview_every=2)
    (bar,) = [bar for bar in comfy.bars if bar.previews]
    first, _, sheet = bar.previews
    assert first[0] == "JPEG"
    assert first[1].size == (32, 32)
    assert sheet[1].width > first[1].width
    assert comfy.unloaded == 2


@pytest.mark.long
def test_cancel_stops_and_the_next_run_goes_on(pack: Any, comfy: Comfy) -> None:
    seen: list[int] = []
    comfy.interrupt_when(2)
    project = start(pack)
    with pytest.raises(InterruptProcessingException):
        taught(pack, project)
    assert not Project.exists(project.folder)

    def watch(bar: Bar) -> None:
        seen.append(bar.current) if bar.total == 4 else None

    comfy.on_step = watch
    resumed = taught(pack, project)
    assert 1 not in seen
    straight = taught(pack, start(pack, "straight"))
    assert same(state(resumed[3]), state(straight[3]))


@pytest.mark.long
def test_equal_inputs_give_the_stored_result_at_once(pack: Any, comfy: Comfy) -> None:
    first = taught(pack)
    comfy.bars.clear()
    again = taught(pack, pack.LoadModel.execute("mine").args[3])
    assert not any(bar.total == 4 for bar in comfy.bars)
    assert Project.open(again[3].folder).number == 1
    assert again[3].checkpoint == first[3].checkpoint
    assert again[6].losses == first[6].losses
    assert torch.equal(again[5], first[5])


@pytest.mark.long
def test_the_same_pictures_taught_otherwise_are_refused_with_the_way_out(pack: Any) -> None:
    first = taught(pack)
    with pytest.raises(UsageError, match=r"another steps.*\n.*undo"):
        taught(pack, first[3], steps=5)


@pytest.mark.long
def test_a_copy_is_taught_and_the_project_stays(pack: Any) -> None:
    first = taught(pack)[3]
    before = first.checkpoint.read_bytes()
    for strategy in ("merge", "distill"):  # the engine's own tests run all of them
        _, _, _, copy, triggers, *_ = taught(pack, first, seed=1, strategy=strategy, copy_to=f"by {strategy}")
        assert copy.folder.name == f"by {strategy}"
        assert triggers.splitlines() == ["sks dog", "zwz dog"]
        again = taught(pack, first, seed=1, strategy=strategy, copy_to=f"by {strategy}")[3]
        assert again.checkpoint == copy.checkpoint
    assert Project.open(first.folder).number == 1
    assert first.checkpoint.read_bytes() == before


@pytest.mark.long
def test_a_copy_that_went_its_own_way_is_not_taught_by_mistake(pack: Any) -> None:
    first = taught(pack)[3]
    taught(pack, first, seed=1, copy_to="other")
    with pytest.raises(UsageError, match="other"):
        taught(pack, first, seed=2, copy_to="other")
    with pytest.raises(UsageError, match="own name"):
        taught(pack, first, seed=2, copy_to="mine")


@pytest.mark.long
def test_a_project_that_was_taught_elsewhere_is_seen(pack: Any, comfy: Comfy) -> None:
    old = start(pack)
    before = pack.LoadModel.fingerprint_inputs("mine")
    first = taught(pack, old)[3]
    assert pack.LoadModel.fingerprint_inputs("mine") != before
    model, _, _, project, triggers, *_ = taught(pack, old, seed=1)  # its wire still tells of the base
    assert triggers.splitlines() == ["sks dog", "zwz dog"]
    saved = state(project)
    assert all(torch.equal(w, saved[f"model.{n}"]) for n, w in model.effective().items())
    assert first.checkpoint != project.checkpoint


@pytest.mark.long
def test_undo_goes_back_as_far_as_asked_and_no_further(pack: Any) -> None:
    first = taught(pack)[3]
    second = taught(pack, first, seed=1)[3]
    for _ in range(2):
        _, _, _, project, triggers = pack.Undo.execute(second, 1).args
        assert triggers == "sks dog"
        assert project.checkpoint == first.checkpoint
    assert pack.Undo.execute(start(pack, "empty"), 0).args[4] == ""


@pytest.mark.long
def test_a_lora_becomes_a_concept_and_twice_is_once(pack: Any, comfy: Comfy) -> None:
    project = taught(pack)[3]
    path = Path(pack.ExportLora.execute(project, "mine", 4).args[0])
    shutil.copy(path, comfy.base / "models" / "loras" / "mine.safetensors")
    for _ in range(2):
        result = pack.AddLora.execute(
            start(pack, "other"), "mine.safetensors", "merge", 0.8, "twt", "dog"
        ).args
        assert result[4] == "twt dog"
        assert Project.open(result[3].folder).number == 1


@pytest.mark.long
def test_a_checkpoint_is_saved_for_both_programs(pack: Any, comfy: Comfy) -> None:
    project = taught(pack)[3]
    text = pack.SaveCheckpoint.execute(project, "my dogs", "both", "fp16").args[0]
    files = [Path(line) for line in text.splitlines()]
    assert [file.is_file() for file in files] == [True, True]
    assert files[0] == comfy.base / "models" / "checkpoints" / "my dogs.safetensors"
    assert files[1].is_relative_to(comfy.base / "output" / "clora-a1111")
    assert pack.SaveCheckpoint.execute(project, "my dogs", "both", "fp16").args[0] == text


@pytest.mark.long
def test_the_report_shows_every_concept_over_the_versions(pack: Any) -> None:
    first = taught(pack)[3]
    small, text = pack.ForgettingReport.execute(first).args
    moved = r"what nobody has taught is 0\.\d{3} from the base \(of the pixels' range\)"
    assert re.fullmatch(rf"1\. sks dog: just learned\n{moved}", text)
    second = taught(pack, first, seed=1)[3]
    image, text = pack.ForgettingReport.execute(second).args
    assert re.fullmatch(
        r"1\. sks dog: changed since it was learned by [0-9.]+ % after 2\n2\. zwz dog: just learned\n"
        + moved
        + r"\nthe last change overlaps by 0\.\d{3} with earlier ones \(0 to 1\)",
        text,
    )
    drift = Drift(6, Estimate(0.02, 0.01), Estimate(0.04, 0.01), "dinov2")
    outcome = Outcome(None, None, (Kept(1, 0.75, 0.9, 0.85, "dinov2"),), drift)
    outcome.write(concept_files(second.folder, 2, "zwz", "dog").outcome)
    _, text = pack.ForgettingReport.execute(second).args
    assert "after 2 (keeps 0.75 by dinov2: 0.90 when learned, 0.85 now)" in text
    assert "is 0.040 from the base (1 - cosine by dinov2)" in text
    assert image.shape[1] > small.shape[1]
    assert image.shape[2] > small.shape[2]


@pytest.mark.long
def test_prompt_plot_info_and_drawing(pack: Any) -> None:
    *_, project, _, _, report = taught(pack)
    assert pack.ConceptPrompt.execute(project, 0, "a {concept}, {token}").args == ("a sks dog, sks",)
    with pytest.raises(UsageError, match="no concept 2"):
        pack.ConceptPrompt.execute(project, 2, "")
    assert pack.LossPlot.execute(report).args[0].shape == (1, 450, 800, 3)
    assert "| 1 | sks dog | mask | L0 | 3 pictures |" in pack.ProjectInfo.execute(project).args[0]
    assert "Nothing learned yet" in pack.ProjectInfo.execute(start(pack, "new")).args[0]
    drawn = pack.Draw.execute(project, "sks dog", 2, 2, 4.0, 0).args[0]
    assert drawn.shape == (2, 32, 32, 3)
    assert pack.Draw.execute(start(pack, "new"), "dog", 1, 2, 4.0, 0).args[0].shape == (1, 32, 32, 3)


@pytest.mark.long
def test_the_demo_model_is_taught_though_comfyui_does_not_know_it(pack: Any, comfy: Comfy) -> None:
    comfy.known = False
    outputs = pack.StartProject.execute("clora's built-in demo model", "demo").args
    assert isinstance(outputs[0], ExecutionBlocker)
    assert "Clora Draw" in str(outputs[0].message)
    after = taught(pack, outputs[3], steps=1)
    assert isinstance(after[0], ExecutionBlocker)
    assert after[4] == "sks dog"


def test_nodes_are_thin() -> None:
    folder = Path(__file__).parents[2] / "comfyui_nodes" / "nodes"
    assert len(list(folder.glob("*.py"))) == 7


def test_every_execute_is_thin_and_every_input_explained(pack: Any) -> None:
    for node in pack.nodes.values():
        lines = inspect.getsource(node.execute.__func__).splitlines()
        body = [line for line in lines if line.strip()]
        assert len(body) <= 15, node
        schema = node.define_schema()
        assert schema.node_id.startswith("Clora")
        assert schema.category.split("/")[0] == "clora"
        assert schema.description
        for socket in [*schema.inputs, *schema.outputs]:
            assert socket.options.get("tooltip"), (schema.node_id, socket.id)


@pytest.mark.long
def test_what_a_checkpoint_predicts_reaches_the_model_and_the_project(pack: Any) -> None:
    usual = start(pack, "usual")
    assert usual.model.object_patches == {}
    project = pack.StartProject.execute("tiny.safetensors", "mine", "v", "yes").args[3]
    after = taught(pack, project)
    base = Project.open(project.folder).base
    assert base is not None
    assert (base.prediction, base.zero_snr) == ("v", True)
    again = pack.LoadModel.execute("mine").args[0]
    for model in (project.model, after[0], again):
        sampling = model.get_model_object("model_sampling")
        assert "V_PREDICTION" in {kind.__name__ for kind in type(sampling).__mro__}
        assert sampling.zsnr
    with pytest.raises(UsageError, match="--prediction epsilon does not fit"):
        pack.StartProject.execute("tiny.safetensors", "mine", "epsilon")
    assert (
        pack.StartProject.execute("tiny.safetensors", "mine", "v").args[3].checkpoint == after[3].checkpoint
    )
