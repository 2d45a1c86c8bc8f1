"""The sd1 family on a tiny real model: detection, targets, loading, encoding, sampling, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import RESOLUTION, parts, write_tiny_model

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.errors import CheckpointError
from clora_ext.families.model import SizeConditioning
from clora_ext.families.sd1 import CONFIG_KEY
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(
        write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", dtype=torch.float32)
    )


def rewritten(
    tiny: Checkpoint,
    target: Path,
    *,
    metadata: dict[str, str] | None = None,
    change: Callable[[dict[str, Source]], None] = lambda sources: None,
) -> Checkpoint:
    sources = {name: Source.copy(tiny, name) for name in tiny.names}
    change(sources)
    write_checkpoint(target, sources, dict(tiny.header.metadata) if metadata is None else metadata)
    return Checkpoint(target)


def test_the_family_is_detected_from_the_header(tiny: Checkpoint) -> None:
    family = families.detect(tiny.header, tiny.path)
    assert family.name == "sd1"
    assert family.resolution(tiny.header) == RESOLUTION
    assert family.size_multiple(tiny.header) == 4


def test_targets_are_all_attention_projections_of_the_unet(tiny: Checkpoint) -> None:
    unet = parts()["unet"]
    wanted = {
        name.removesuffix(".weight"): tuple(tensor.shape)
        for name, tensor in unet.state_dict().items()
        if ".attn" in name and name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"))
    }
    family = families.detect(tiny.header, tiny.path)
    targets = family.targets(tiny.header, "attention", text_encoders=False)
    assert {target.module: target.shape for target in targets} == wanted
    assert [target.name for target in targets] == sorted(target.name for target in targets)


def test_loaded_modules_hold_the_written_weights(tiny: Checkpoint) -> None:
    model: Any = families.load("sd1").load(tiny, pick_precision())
    for component, module in parts().items():
        if component != "scheduler":
            state = model.parts[component].state_dict()
            assert state.keys() == module.state_dict().keys()
            assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
            assert not any(parameter.requires_grad for parameter in model.parts[component].parameters())


def test_given_weights_stand_in_for_the_files_own(tiny: Checkpoint) -> None:
    family = families.load("sd1")
    target = family.targets(tiny.header, "attention", text_encoders=False)[0]
    model = family.load(tiny, pick_precision(), {target.name: torch.full(target.shape, 0.25)})
    weight = model.denoiser.get_submodule(target.module).weight
    assert torch.equal(weight, torch.full(target.shape, 0.25))


def test_pictures_are_drawn_from_seeds_alone(tiny: Checkpoint) -> None:
    model = families.load("sd1").load(tiny, pick_precision())
    steps: list[tuple[int, int]] = []

    def draw(seeds: list[int]) -> list[bytes]:
        images = model.sample(
            "a photo of sks dog", negative="", seeds=seeds, steps=2, guidance=3.0, size=RESOLUTION,
            on_step=lambda done, total: steps.append((done, total)),
        )  # fmt: skip
        assert all(image.size == (RESOLUTION, RESOLUTION) for image in images)
        return [image.tobytes() for image in images]

    both = draw([1, 2])
    assert draw([1, 2]) == both
    assert both[0] != both[1]
    assert steps == [(1, 2), (2, 2)] * 2


def test_latents_have_the_scale_that_the_configuration_says(tiny: Checkpoint) -> None:
    model: Any = families.load("sd1").load(tiny, pick_precision())
    pixels = torch.rand(2, 3, RESOLUTION, RESOLUTION) * 2 - 1
    mean, deviation = model.encode_images(pixels)
    place = model.vae.encode(pixels).latent_dist
    torch.testing.assert_close(mean, place.mean * 0.5)
    torch.testing.assert_close(deviation, place.std * 0.5)


def test_prompts_are_encoded_as_the_pipeline_does(tiny: Checkpoint) -> None:
    model: Any = families.load("sd1").load(tiny, pick_precision())
    square = SizeConditioning((64, 64), (0, 0), (RESOLUTION, RESOLUTION))
    states = model.condition(["sks dog", "a very long prompt " * 20], [square] * 2)["states"]
    assert states.shape == (2, model.text.tokenizer.model_max_length, 24)


def test_a_checkpoint_without_vae_says_so(tiny: Checkpoint, tmp_path: Path) -> None:
    def drop(sources: dict[str, Source]) -> None:
        for name in [name for name in sources if name.startswith("first_stage_model.")]:
            del sources[name]

    broken = rewritten(tiny, tmp_path / "x.safetensors", change=drop)
    with pytest.raises(CheckpointError, match="no VAE"):
        families.detect(broken.header, broken.path)


def test_something_else_is_refused_with_what_was_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.safetensors", {"transformer.blocks.0": Source.of(torch.ones(2))}, {})
    other = Checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="transformer"):
        families.detect(other.header, other.path)


def test_broken_weights_are_named(tiny: Checkpoint, tmp_path: Path) -> None:
    name = "model.diffusion_model.out.2.bias"

    def spoil(sources: dict[str, Source]) -> None:
        bad = Checkpoint(tmp_path / "bad.safetensors")
        sources[name] = Source.copy(bad, name)

    from safetensors.torch import save_file

    for value in (float("nan"), float("inf")):
        save_file({name: torch.tensor([0.0, value, 0.0, 1.0])}, tmp_path / "bad.safetensors")
        broken = rewritten(tiny, tmp_path / "x.safetensors", change=spoil)
        with pytest.raises(CheckpointError, match=r"out\.2\.bias.*NaN or infinite"):
            families.load("sd1").load(broken, pick_precision())


def hostile(tiny: Checkpoint, change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    config = json.loads(tiny.header.metadata[CONFIG_KEY])
    change(config)
    return {CONFIG_KEY: json.dumps(config)}


Change = Callable[[dict[str, Any]], Any]

HOSTILE: list[Change] = [
    lambda config: config["unet"].update(layers_per_block=10**9),
    lambda config: config["unet"].update(block_out_channels=[2**40, 2**40]),
    lambda config: config["unet"].pop("block_out_channels"),
    lambda config: config["text_encoder"].update(vocab_size=2**40),
    lambda config: config.update(resolution="big"),
    lambda config: config.update(resolution=-64),
    lambda config: config.update(vae=[1]),
    lambda config: config.pop("scheduler"),
]
MISFITS: list[Change] = [
    lambda config: config["unet"].update(cross_attention_dim=32),
    lambda config: config["unet"].update(layers_per_block=2),
    lambda config: config["vae"].update(block_out_channels=[8, 8]),
    lambda config: config["text_encoder"].update(hidden_size=26),
    lambda config: config["text_encoder"].update(vocab_size=300),
    lambda config: config.update(tokenizer="../../etc"),
]


def accepted(
    tiny: Checkpoint, file: Path, changes: list[Change], use: Callable[[Checkpoint], object]
) -> list[int]:
    """Which of the changed configurations are not refused with the file's name."""
    found = []
    for number, change in enumerate(changes):
        broken = rewritten(tiny, file, metadata=hostile(tiny, change))
        try:
            use(broken)
            found.append(number)
        except CheckpointError as error:
            if file.name not in error.message:
                found.append(number)
    return found


def test_hostile_configurations_are_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    def detect(broken: Checkpoint) -> object:
        return families.detect(broken.header, broken.path)

    assert accepted(tiny, tmp_path / "x.safetensors", [lambda config: None], detect) == [0]
    assert accepted(tiny, tmp_path / "x.safetensors", HOSTILE, detect) == []


def test_configurations_that_do_not_fit_the_tensors_are_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    def load(broken: Checkpoint) -> object:
        return families.load("sd1").load(broken, pick_precision())

    assert accepted(tiny, tmp_path / "x.safetensors", [lambda config: None], load) == [0]
    assert accepted(tiny, tmp_path / "x.safetensors", MISFITS, load) == []


def test_a_configuration_of_its_own_says_what_the_network_predicts(tiny: Checkpoint, tmp_path: Path) -> None:
    def predict_v(config: dict[str, Any]) -> None:
        config["scheduler"]["prediction_type"] = "v_prediction"

    family = families.load("sd1")
    assert family.prediction(tiny.header).kind == "epsilon"
    other = rewritten(tiny, tmp_path / "x.safetensors", metadata=hostile(tiny, predict_v))
    assert family.prediction(other.header).kind == "v"
