"""What ComfyUI makes necessary: patches that add up, inference mode, folders with thousands of files."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from calling_nodes import start, state, taught
from fake_comfy import Comfy

from clora_ext.errors import UsageError


@pytest.mark.long
def test_a_chain_of_concepts_keeps_one_copy_of_each_weight(pack: Any) -> None:
    models, project = [], start(pack)
    for seed in range(3):
        model, _, _, project, *_ = taught(pack, project, seed=seed)
        models.append((model, state(project)))
    for model, saved in models:  # also the earlier ones, which other nodes may still hold
        assert {len(patches) for patches in model.patches.values()} == {1}
        assert all(torch.equal(weight, saved[f"model.{name}"]) for name, weight in model.effective().items())


@pytest.mark.long
def test_patches_of_others_stay_where_they_were(pack: Any) -> None:
    _, _, _, first, *_ = taught(pack)
    names = list(first.model.patches)
    part, scaled = ("set", (torch.zeros(1),)), (torch.ones(1),)
    first.model.patches[names[0]].append((1.0, part, 1.0, (0, 0, 1), None))
    first.model.add_patches({names[0]: scaled, names[1]: scaled})
    model, *_ = taught(pack, first, seed=1)
    for name, others in zip(names, [[part, scaled], [scaled], []], strict=False):
        *kept, ours = (what for _, what, *_ in model.patches[name])
        assert list(map(id, kept)) == list(map(id, others))
        assert ours[0] == "set"
    assert [len(first.model.patches[name]) for name in names[:3]] == [3, 2, 1]


@pytest.mark.long
def test_nodes_are_executed_in_inference_mode_and_train_all_the_same(pack: Any) -> None:
    seen: list[bool] = []

    class Node(pack.AddConcept.__mro__[1]):  # ComfyUI's own base class
        @classmethod
        def execute(cls) -> None:
            seen.append(torch.is_inference_mode_enabled())

    Node.execute()
    assert seen == [True]
    assert not torch.is_inference_mode_enabled()
    assert taught(pack)[6].losses


def test_folders_are_listed_at_any_depth_without_touching_files(
    pack: Any, comfy: Comfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = comfy.base / "input"
    for folder in ("b/deep/er", "a", "a b"):
        (root / folder).mkdir(parents=True)
        (root / folder / "1.png").touch()
    (root / "link").symlink_to(root / "b", target_is_directory=True)
    (root / "b" / "loop").symlink_to(root, target_is_directory=True)
    touched: list[str] = []
    for name in ("stat", "lstat"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path, real=real, **how: touched.append(path) or real(path, **how)
        )
    schema = pack.DatasetFromFolder.define_schema()
    (found,) = [one.options["options"] for one in schema.inputs if "options" in one.options][:1]
    monkeypatch.undo()
    assert [folder for folder in found if folder] == ["a", "a b", "b", "b/deep", "b/deep/er"]
    assert not [path for path in touched if Path(path).suffix == ".png"]


@pytest.mark.long
def test_comfyuis_models_stay_loaded_until_there_is_something_to_compute(pack: Any, comfy: Comfy) -> None:
    first = taught(pack)
    pack.ForgettingReport.execute(first[3])
    comfy.unloaded = 0
    assert taught(pack, start(pack))[4] == first[4]  # learned already
    with pytest.raises(UsageError, match="another steps"):
        taught(pack, first[3], steps=5)
    pack.ForgettingReport.execute(first[3])  # its picture is stored
    assert comfy.unloaded == 0
    second = taught(pack, first[3], seed=1)[3]
    assert comfy.unloaded == 2  # before and after
    pack.ForgettingReport.execute(second)  # the run has drawn everything that it shows
    assert comfy.unloaded == 2
    pack.Draw.execute(second, "sks dog", 1, 2, 4.0, 0)
    assert comfy.unloaded == 4
