"""What comes out of a project: drawings, exported checkpoints, reports on files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from exact_state import exact_project
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_model import RESOLUTION, write_tiny_model

from clora_ext import (
    GenerateRequest,
    Pictures,
    Project,
    Request,
    Settings,
    add_concept,
    export_checkpoint,
    generate,
    inspect_file,
)
from clora_ext.errors import CheckpointError, ProjectError, SettingsError, UsageError
from clora_ext.events import FoldStep, Note, Sampled, SampleStep
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.runs.checked_settings import checked_settings

QUICK = GenerateRequest("sks dog", count=2, seed=5, steps=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture(scope="module")
def project(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "dog_images").mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "dog_images" / "a.png")
    settings = Settings.of(
        strategy="mask", steps=3, rank=2, batch_size=1, learning_rate=1e-2, sample_steps=2, kept_count=0
    )
    add_concept(Request(Pictures(folder / "dog_images"), folder / "model", base=base, settings=settings))
    return folder / "model"


@pytest.mark.long
def test_drawings_go_beside_the_project_and_overwrite_nothing(project: Path) -> None:
    events: list[object] = []
    first = generate(project, QUICK, sink=events.append)
    again = generate(project, QUICK)
    assert [path.name for path in first] == ["sks-dog-5.png", "sks-dog-6.png"]
    assert [path.name for path in again] == ["sks-dog-5 (2).png", "sks-dog-6 (2).png"]
    assert first[0].read_bytes() == again[0].read_bytes() != first[1].read_bytes()
    with Image.open(first[0]) as image:
        assert image.size == (RESOLUTION, RESOLUTION)
    assert [e.done for e in events if isinstance(e, SampleStep)] == [1, 2]
    assert [e.path for e in events if isinstance(e, Sampled)] == first


def test_a_picture_depends_on_its_own_seed_only(project: Path, tmp_path: Path) -> None:
    many = generate(project, QUICK, tmp_path / "many")
    alone = generate(project, GenerateRequest("sks dog", count=1, seed=6, steps=2), tmp_path / "alone.png")
    assert alone == [tmp_path / "alone.png"]
    with Image.open(many[1]) as one, Image.open(alone[0]) as two:
        difference = (torch.tensor(list(one.tobytes())) - torch.tensor(list(two.tobytes()))).abs().max()
    assert int(difference) <= 1


def test_a_prompt_that_is_too_long_is_noted(project: Path, tmp_path: Path) -> None:
    events: list[object] = []
    generate(project, replace(QUICK, prompt="dog " * 30), tmp_path / "out", events.append)
    assert Note("the prompt is too long: its last 12 tokens are not read") in events


def test_several_pictures_for_one_name_are_numbered(project: Path, tmp_path: Path) -> None:
    files = generate(project, QUICK, tmp_path / "dog.PNG")
    assert [path.name for path in files] == ["dog-1.png", "dog-2.png"]


def test_a_checkpoint_file_can_be_drawn_with(base: Path, tmp_path: Path) -> None:
    assert len(generate(base, QUICK, tmp_path / "out")) == 2


IMPOSSIBLE = [
    GenerateRequest("x", count=0),
    GenerateRequest("x", count=1001),
    GenerateRequest("x", steps=0),
    GenerateRequest("x", steps=1001),
    GenerateRequest("x", seed=-1),
    GenerateRequest("x", size=RESOLUTION + 1),
]


def test_impossible_requests_are_refused(project: Path, tmp_path: Path) -> None:
    def check(drawing: GenerateRequest) -> None:
        with pytest.raises(UsageError) as caught:
            generate(project, drawing, tmp_path / "out")
        assert caught.value.fix
        assert not (tmp_path / "out").exists()

    check_each(IMPOSSIBLE, check)


def test_a_plain_export_keeps_every_tensor_byte_for_byte(project: Path, tmp_path: Path) -> None:
    steps: list[object] = []
    exported = export_checkpoint(project, tmp_path / "model.safetensors", sink=steps.append)
    opened = Project.open(project)
    assert opened.checkpoint_path is not None
    now, before = load_file(exported.path), load_file(opened.checkpoint_path)
    assert now.keys() == before.keys()
    assert all(now[name].numpy().tobytes() == before[name].numpy().tobytes() for name in now)
    assert exported.content_hash == opened.concepts[-1].content_hash
    assert exported.bytes == exported.path.stat().st_size
    assert exported.dtype == "fp16"
    assert sum(isinstance(step, FoldStep) for step in steps) == len(now)


DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def test_an_export_rounds_every_weight_once(project: Path, tmp_path: Path) -> None:
    exact = exact_project(project)

    def check(precision: str) -> None:
        dtype = DTYPES[precision]
        exported = export_checkpoint(project, tmp_path / f"{precision}.safetensors", precision)
        tensors = load_file(exported.path)
        # The VAE: as the base has it.
        kept = {name for name in tensors if name.startswith("first_stage_model.")}
        assert {tensor.dtype for name, tensor in tensors.items() if name not in kept} == {dtype}
        assert {tensors[name].dtype for name in kept} == {torch.float16}
        assert all(torch.equal(tensors[key], weight.to(dtype)) for key, weight in exact.items())
        assert content_hash(Checkpoint(exported.path)) == exported.content_hash

    check_each(DTYPES, check)


def test_exports_overwrite_nothing_unasked(project: Path, base: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    export_checkpoint(project, target)
    with pytest.raises(UsageError, match="exists"):
        export_checkpoint(project, target)
    export_checkpoint(project, target, "bf16", overwrite=True)
    current = Project.open(project).checkpoint_path
    assert current is not None
    for own in (base, current):
        before = own.read_bytes()
        with pytest.raises(UsageError, match="belongs to the project"):
            export_checkpoint(project, own, overwrite=True)
        assert own.read_bytes() == before


def test_wrong_exports_are_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fp61") as caught:
        export_checkpoint(project, tmp_path / "x.safetensors", "fp61")
    assert "fp16" in caught.value.fix
    with pytest.raises(UsageError, match="does not end in"):
        export_checkpoint(project, tmp_path / "x.ckpt")
    with pytest.raises(ProjectError):
        export_checkpoint(tmp_path / "nothing", tmp_path / "x.safetensors")


def test_a_report_says_what_kind_a_file_is(project: Path, base: Path, tmp_path: Path) -> None:
    opened = Project.open(project)
    assert opened.checkpoint_path is not None
    assert opened.memory_path is not None
    taught = inspect_file(opened.checkpoint_path)
    assert (taught.kind, taught.family) == ("checkpoint", "sd1")
    assert taught.history == ({"token": "sks", "class": "dog", "strategy": "mask"},)
    assert taught.dtypes == {"F16": taught.tensors}
    assert taught.parameters == inspect_file(base).parameters
    assert json.loads(json.dumps(taught.as_dict()))["kind"] == "checkpoint"
    assert inspect_file(opened.memory_path).kind == "clora memory"
    save_file({"lora_unet_x.lora_down.weight": torch.ones(1)}, tmp_path / "l.safetensors")
    assert inspect_file(tmp_path / "l.safetensors").kind == "LoRA"
    kinds = {
        "LoHa": ("hada_w1_a", "hada_w1_b"),
        "LoKr with DoRA, full": ("lokr_w1", "dora_scale", "diff_b"),
        "DoRA": ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"),
        "OFT": ("oft_blocks", "alpha"),
        "IA3": ("weight", "on_input"),
        "unknown": ("weight", "alpha", "scalar"),
    }
    for kind, parts in kinds.items():
        save_file({f"unet.x.{part}": torch.ones(1) for part in parts}, tmp_path / "l.safetensors")
        assert inspect_file(tmp_path / "l.safetensors").kind == kind
    save_file({"x": torch.ones(1)}, tmp_path / "u.safetensors")
    assert inspect_file(tmp_path / "u.safetensors").kind == "unknown"


def test_a_hostile_history_does_no_harm(tmp_path: Path) -> None:
    def check(history: str) -> None:
        file = empty_folder(tmp_path) / "x.safetensors"
        save_file({"x": torch.ones(1)}, file, metadata={"clora.history": history})
        assert inspect_file(file).history in ((), ({"token": "5"},))

    check_each(["[", "3", '[1, {"token": 5}]', "[" * 100_000], check)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="pickle"):
        inspect_file(tmp_path / "model.ckpt")


def test_all_wrong_settings_are_listed_together() -> None:
    wrong = Settings.of(
        strategy="msak", steps=0, rank=0, batch_size=0, alpha=float("nan"), learning_rate=float("inf"),
        max_grad_norm=-1, weight_decay=-1, warmup_steps=-1, seed=-1, resolution=0,
    )  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        checked_settings(wrong)
    assert len(caught.value.problems) == 11
