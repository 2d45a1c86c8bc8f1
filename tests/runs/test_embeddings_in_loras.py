"""LoRA files of a concept whose word is read anew: its vectors go along, as web interfaces read them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from learned import Learned
from safetensors.torch import load_file
from small_runs import another, with_settings, with_source
from torch import Tensor

from clora_ext import Project, Request, add_concept
from clora_ext.events import Event, Note
from clora_ext.export.lora import export_lora
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.runs.context import project_context
from clora_ext.runs.lora_files import bundled_words, read_changes


def distilled(request: Request) -> Request:
    return with_settings(request, strategy="distill")


def bundled(file: Path) -> dict[str, dict[str, Tensor]]:
    """A web interface's reading of a LoRA file: by the first two dots, embedding by embedding."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(file).items():
        start, _, rest = key.partition(".")
        if start == "bundle_emb":
            name, vectors = rest.split(".", 1)
            found.setdefault(name, {})[vectors] = value
    return found


def changed_row(base: Path, taught: Path) -> Tensor:
    """The one row of the table of tokens in which two checkpoints differ, as the second has it."""
    before, after = Checkpoint(base), Checkpoint(taught)
    (name,) = [name for name in before.names if name.endswith("token_embedding.weight")]
    table = after.read_float(name)
    (row,) = (before.read_float(name) != table).any(dim=1).nonzero().flatten().tolist()
    return table[row]


@pytest.mark.long
def test_a_trained_lora_brings_its_word(request_: Request, tmp_path: Path) -> None:
    lora = tmp_path / "dog.safetensors"
    result = add_concept(with_source(distilled(request_), export_lora=lora))
    found = bundled(lora)
    assert found.keys() == {"sks"}
    assert found["sks"].keys() == {"clip_l"}  # a single tensor, as Stable Diffusion 1's embeddings have
    vectors = found["sks"]["clip_l"]
    assert vectors.shape[0] == 1
    torch.testing.assert_close(
        vectors[0].float(), changed_row(request_.base, result.checkpoint), atol=1e-3, rtol=1e-3
    )


@pytest.mark.long
def test_everything_learned_as_one_lora_brings_all_words(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    told: list[Event] = []
    learned(distilled(request_))
    add_concept(distilled(another(request_, "cat_images")))
    exported = export_lora(request_.project, tmp_path / "all.safetensors", 4, sink=told.append)
    found = bundled(exported.path)
    assert set(exported.words) == found.keys()
    assert len(found) == 2
    assert exported.left_out == ()
    notes = [event.text for event in told if isinstance(event, Note)]
    assert any(note.startswith("bundled") and all(word in note for word in found) for note in notes)


def test_of_many_words_the_newest_are_bundled(tmp_path: Path) -> None:
    """Forge would refuse the file for more than twelve tensors that it cannot place."""
    told: list[Event] = []
    vectors = {"text_encoder": torch.ones(1, 4), "text_encoder_2": torch.ones(1, 6)}
    found = bundled_words({f"w{number}": vectors for number in range(8)}, told.append)
    assert list(found) == ["w7", "w6", "w5", "w4", "w3", "w2"]
    assert "w0" in str(told[0])
    assert "w1" in str(told[0])


@pytest.mark.long
def test_a_word_with_a_dot_is_left_out_and_told(request_: Request, tmp_path: Path) -> None:
    told: list[Event] = []
    add_concept(distilled(replace(request_, token="s.ks")))
    exported = export_lora(request_.project, tmp_path / "all.safetensors", 4, sink=told.append)
    assert not bundled(exported.path)
    assert exported.words == ()
    assert len(exported.left_out) == 1
    notes = [event.text for event in told if isinstance(event, Note)]
    assert any(note.endswith("what the text encoders read as s.ks") for note in notes)


def test_words_that_are_read_as_before_are_not_bundled(request_: Request, tmp_path: Path) -> None:
    lora = tmp_path / "dog.safetensors"
    add_concept(with_source(with_settings(request_, strategy="merge"), export_lora=lora))
    exported = export_lora(request_.project, tmp_path / "all.safetensors", 4)
    assert not bundled(lora)
    assert not bundled(exported.path)


@pytest.mark.long
def test_clora_tells_what_it_leaves_of_its_own_file(request_: Request, tmp_path: Path) -> None:
    lora = tmp_path / "dog.safetensors"
    add_concept(with_source(distilled(request_), export_lora=lora))
    read, _ = read_changes(lora, project_context(Project.open(request_.project), None))
    assert any("sks" in note for note in read.notes)
