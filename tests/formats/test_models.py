"""A model may lie in a diffusers folder or under flattened names: it is the same model, tensor for tensor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from layouts import originals
from real_shapes import CLIP_L, sd1_modules, tables, tiny_sdxl, write
from safetensors.torch import load_file, save_file
from torch import nn

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.errors import CheckpointError
from clora_ext.families.hub import find_base
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.formats.composed import open_model
from clora_ext.formats.models import model_header, model_sha256


def save(folder: Path, modules: dict[str, nn.Module], **scheduler: Any) -> Path:
    """As diffusers' save_pretrained does, without tokenizers."""
    for name, module in modules.items():
        module.save_pretrained(folder / name)  # type: ignore[operator]
    DDIMScheduler(**scheduler).save_pretrained(folder / "scheduler")
    kind = "StableDiffusionXLPipeline" if "text_encoder_2" in modules else "StableDiffusionPipeline"
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}), encoding="utf-8")
    return folder


def content(checkpoint: Checkpoint, name: str) -> bytes:
    """A tensor's bytes; a chunk is only valid until the next."""
    return b"".join(bytes(chunk) for chunk in checkpoint.chunks(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("folder"), tiny_sdxl())


@pytest.mark.long
def test_a_diffusers_folder_is_the_single_file_tensor_for_tensor(folder: Path, tmp_path: Path) -> None:
    single = Checkpoint(write(tmp_path / "x.safetensors", tiny_sdxl(), torch.float32))
    whole = open_model(folder)
    assert set(whole.names) == set(single.names)
    for name in single.names:
        assert whole.info(name).shape == single.info(name).shape
        assert torch.equal(whole.read(name), single.read(name)), name
        assert content(whole, name) == content(single, name), name
    assert content_hash(whole) == content_hash(single)


def test_a_diffusers_folder_loads_as_the_model_it_is(folder: Path) -> None:
    whole = open_model(folder)
    family = families.detect(model_header(folder), folder)
    assert family.name == "sdxl"
    model: Any = family.load(whole, pick_precision())
    for component, module in tiny_sdxl().items():
        state = model.parts[component].state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


def test_a_folder_says_that_it_predicts_v(tmp_path: Path) -> None:
    scheduler = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    folder = save(tmp_path, tiny_sdxl(), **scheduler)
    names = set(open_model(folder).names)
    assert {"v_pred", "ztsnr"} <= names
    assert open_model(folder).read("v_pred").numel() == 0


def test_the_hash_of_a_folder_changes_with_every_file_it_is_read_from(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = model_sha256(copy)
    assert before == model_sha256(folder)
    (copy / "README.md").write_text("words", encoding="utf-8")
    assert model_sha256(copy) == before
    for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"):
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1
        (copy / name).write_bytes(content)
        assert model_sha256(copy) != before
        content[-1] ^= 1
        (copy / name).write_bytes(content)


def test_of_a_folder_with_two_variants_the_plain_one_is_read_unless_the_other_is_named(
    folder: Path, tmp_path: Path
) -> None:
    """The UNet's file stands for the folder in its variant; what has only one variant is read as it is."""
    both = shutil.copytree(folder, tmp_path / "both")
    for weights in sorted(both.glob("*/*.safetensors")):
        if weights.parent.name != "vae":
            halved = {name: tensor.half() for name, tensor in load_file(weights).items()}
            save_file(halved, weights.with_suffix(".fp16.safetensors"))
    file = find_base(both / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    half, whole = open_model(file), open_model(both)
    assert content_hash(whole) == content_hash(open_model(folder))
    plain = both / "unet" / "diffusion_pytorch_model.safetensors"
    assert content_hash(open_model(plain)) == content_hash(whole)
    in_vae = {name: name.startswith("first_stage_model.") for name in half.names}
    assert {(in_vae[name], half.info(name).dtype) for name in half.names} == {(False, "F16"), (True, "F32")}
    assert set(half.names) == set(whole.names)
    assert model_sha256(both) == model_sha256(folder)
    assert model_sha256(file) != model_sha256(both)
    (both / "model_index.json").unlink()
    with pytest.raises(CheckpointError, match="one component of a diffusers folder"):
        families.detect(model_header(file), file)


def test_clip_written_without_text_model_is_read_with_it(tmp_path: Path) -> None:
    with torch.device("meta"):
        modules = sd1_modules(text={**CLIP_L, "num_hidden_layers": 1})
    table = tables(modules)["text_encoder"]
    state = {name: torch.zeros(1, 1) for name, _ in originals(table, modules["text_encoder"].state_dict())}
    flat = {name.replace("text_model.", ""): tensor for name, tensor in state.items()}
    save_file(flat, tmp_path / "flat.safetensors")
    assert set(open_model(tmp_path / "flat.safetensors").names) == set(state)
    assert set(model_header(tmp_path / "flat.safetensors").tensors) == set(state)


def shard(folder: Path) -> None:
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole.rename(folder / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")


def pickles(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"PK")


def incomplete(folder: Path) -> None:
    file = folder / "text_encoder_2" / "model.safetensors"
    state = load_file(file)
    del state["text_model.encoder.layers.0.self_attn.k_proj.weight"]
    save_file(state, file)


def another_kind(folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")


def endless(folder: Path) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    config["layers_per_block"] = 10**9
    (folder / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")


def no_scheduler(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").unlink()


SPOILED: list[tuple[Callable[[Path], None], str]] = [
    (shard, "sharded"),
    (pickles, "pickles"),
    (incomplete, "not complete"),
    (another_kind, "FluxPipeline"),
    (endless, "does not describe such a model"),
    (no_scheduler, "does not exist"),
]


def test_folders_that_cannot_be_used_say_why(folder: Path, tmp_path: Path) -> None:
    for spoil, words in SPOILED:
        copy = shutil.copytree(folder, tmp_path / spoil.__name__)
        spoil(copy)
        with pytest.raises(CheckpointError, match=words) as caught:
            model_header(copy)
        assert caught.value.fix


def test_a_folder_that_is_no_model_and_a_path_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model_index\.json"):
        find_base(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        find_base(tmp_path / "missing.safetensors")


def test_a_name_on_the_hub_is_taken_from_its_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache's real layout, offline: what is there is found, what is not is told."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    repository = tmp_path / "models--someone--tiny-sdxl"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    found = find_base(Path("someone/tiny-sdxl"))
    assert found == repository / "snapshots" / commit
    with pytest.raises(CheckpointError, match="Hugging Face hub does not give it"):
        find_base(Path("someone/other"))
