"""A diffusers folder of flow matching, in one file a component or in shards: the same model."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from flow_families import FLOW_FAMILIES, Z_IMAGE, family_id
from flow_family import FlowFamily
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_everything

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.families.place import find_place
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.formats.composed import open_model
from clora_ext.formats.models import model_header, model_sha256


def save(folder: Path, shard: str | None, family: FlowFamily = Z_IMAGE) -> Path:
    """As diffusers' save_pretrained does, without the tokenizer."""
    for name, module in modules(kind=family.name).items():
        large = {} if shard is None or name == "vae" else {"max_shard_size": shard}
        module.save_pretrained(folder / name, **large)  # type: ignore[operator]
    FlowMatchEulerDiscreteScheduler(**family.own.scheduler).save_pretrained(folder / "scheduler")
    index = {"_class_name": family.own.pipeline.__name__}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


@pytest.mark.parametrize("shard", [None, "80KB"])
@pytest.mark.parametrize("family", FLOW_FAMILIES, ids=family_id)
def test_a_folder_is_the_single_file_tensor_for_tensor(
    family: FlowFamily, shard: str | None, tmp_path: Path
) -> None:
    folder = save(tmp_path / "folder", shard, family)
    assert (len(list(folder.glob("transformer/*.safetensors"))) > 1) == (shard is not None)
    single = Checkpoint(write_everything(tmp_path / "x.safetensors", dtype=torch.float32, kind=family.name))
    place = find_place(folder, {})
    assert place.companions == {}
    whole = place.open()
    assert families.detect(whole.header, folder).name == family.name
    assert {name: whole.info(name).shape for name in whole.names} == {
        name: single.info(name).shape for name in single.names
    }
    assert all(torch.equal(whole.read(name), single.read(name)) for name in single.names)
    assert content_hash(whole) == content_hash(single)
    families.load(family.name).check_loading(whole.header, folder)


def test_queries_and_keys_in_two_shards_are_one_tensor(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder", None)
    wanted = content_hash(open_model(folder))
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    keys = {name: tensor for name, tensor in tensors.items() if name.endswith("to_k.weight")}
    parts = {"b.safetensors": keys, "a.safetensors": {n: t for n, t in tensors.items() if n not in keys}}
    for name, part in parts.items():
        save_file(part, file.with_name(name))
    file.unlink()
    index = {"weight_map": {tensor: name for name, part in parts.items() for tensor in part}}
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert content_hash(open_model(folder)) == wanted


def test_the_hash_of_a_folder_changes_with_every_shard(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder", "200KB")
    before = model_sha256(folder)
    shard = max(folder.glob("text_encoder/*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert model_sha256(folder) != before


def test_an_index_leads_nowhere_else(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder", "200KB")
    (index,) = folder.glob("transformer/*.index.json")
    content = json.loads(index.read_text(encoding="utf-8"))
    first = next(iter(content["weight_map"]))
    for wrong in ("../vae/diffusion_pytorch_model.safetensors", "missing.safetensors"):
        content["weight_map"][first] = wrong
        index.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(CheckpointError, match="names files that are not there"):
            model_header(folder)


def test_a_folder_that_misses_a_component_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder", None)
    (folder / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"text_encoder holds no model\.safetensors"):
        find_place(folder, {})
