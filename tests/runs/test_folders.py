"""Runs on several folders: sizes, batches, captions and mirrored pictures by folder; regularisation."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cases import check_each
from PIL import Image
from small_runs import folder_of, pictures, stop_at, with_source

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.config.settings import AugmentationSettings, CaptionSettings
from clora_ext.data import KohyaBuckets, Subset, steps_per_epoch
from clora_ext.errors import Cancelled, DatasetError
from clora_ext.evolving.model import Evolving
from clora_ext.families.model import SizeConditioning
from clora_ext.kohya.asked import asked_by
from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors
from clora_ext.runs.encode import Encoded
from clora_ext.runs.step_examples import step_examples
from clora_ext.strategies.objective import Example

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "kohya_steps.json").read_text(encoding="utf-8")
)
# The folders that the golden table was made with: pictures of these sizes, by folder.
FOLDERS: Mapping[str, list[tuple[int, int]]] = {
    "a": [(64, 64)] * 5,
    "b": [(64, 96)] * 2 + [(64, 64)] * 3 + [(96, 64)],
    "r": [(64, 64)] * 4,
    "r2": [(64, 64)] * 30,
}


def drawn(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Pictures of noise, all different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(sizes))
    for number, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def toml(config: Mapping[str, Any]) -> str:
    """A dataset file."""

    def keys(table: Mapping[str, Any]) -> str:
        return "".join(f"{key} = {json.dumps(one)}\n" for key, one in table.items() if key != "subsets")

    text = "[general]\n" + keys(config.get("general", {}))
    for dataset in config["datasets"]:
        text += "[[datasets]]\n" + keys(dataset)
        text += "".join(f"[[datasets.subsets]]\n{keys(subset)}" for subset in dataset["subsets"])
    return text


@pytest.mark.long
def test_an_epoch_has_sd_scripts_steps(request_: Request, tmp_path: Path) -> None:
    for name, sizes in FOLDERS.items():
        drawn(tmp_path / name, sizes)

    def look(case: dict[str, Any]) -> None:
        file = tmp_path / "data.toml"
        file.write_text(toml(case["config"]), encoding="utf-8")
        checked = check([file])
        if case["name"] == "repeats 0":  # which sd-scripts leaves out in silence
            assert [one.key for one in errors(checked.findings)] == ["num_repeats"]
            return
        assert not errors(checked.findings)
        found = asked_by(checked)
        settings = {name: found.settings[name] for name in ("resolution", "batch_size")}
        wished = replace(
            with_source(request_, folder=found.images, subsets=found.subsets),
            settings=None if request_.settings is None else request_.settings.with_values(**settings),
        )
        plan = make_plan(wished)
        assert steps_per_epoch(plan.bucketed, plan.settings.data.batch_size) == case["batches"]
        for number, dataset in enumerate(case["datasets"]):
            own = [one for one in plan.dataset.pictures if one.subset.dataset == number]
            shown = {one.path.name: one.repeats for one in own if one.subset.regularisation}
            assert shown == dataset["reg_used"]
            assert sum(one.repeats for one in own if not one.subset.regularisation) == dataset["train"]
            buckets: Counter[str] = Counter()
            for one in plan.bucketed:
                if one.dataset == number:
                    buckets[f"{one.width}x{one.height}"] += one.repeats
            assert buckets == dataset["buckets"]

    check_each(GOLDEN, look)


def two_folders(request: Request, tmp_path: Path) -> Request:
    """The concept's pictures twice, and others of its class."""
    others = pictures(tmp_path / "others", seed=5)
    first = Subset(folder_of(request), captions=CaptionSettings(caption_prefix="one"))
    second = replace(
        first, captions=CaptionSettings(caption_suffix="two"), resolution=24, batch_size=1, dataset=1
    )
    class_pictures = Subset(others, regularisation=True, loss_weight=0.5, default_caption="a {class}")
    return with_source(request, subsets=(first, second, class_pictures))


def test_folders_are_trained_each_in_its_way(request_: Request, tmp_path: Path) -> None:
    plan = make_plan(two_folders(request_, tmp_path))
    captions = [picture.caption for picture in plan.dataset.pictures]
    assert captions[:3] == ["one a photo of sks dog"] * 3
    assert captions[3:6] == ["a photo of sks dog two"] * 3
    assert captions[6:] == ["a dog"] * 3
    assert [max(size) <= 28 for size in plan.sizes] == [False] * 3 + [True] * 3 + [False] * 3
    assert {one.batch_size for one in plan.bucketed} == {None, 1}
    assert plan.dataset.root == tmp_path


def test_pictures_are_cut_to_width_and_height_where_they_are_given(request_: Request) -> None:
    folder = folder_of(request_)
    plan = make_plan(with_source(request_, subsets=(Subset(folder, sides=(16, 32)),)))
    assert {cut.size for cut in plan.cuts} == {(16, 32)}
    assert all(
        (cut.box[2] - cut.box[0]) / (cut.box[3] - cut.box[1]) == pytest.approx(0.5) for cut in plan.cuts
    )
    with pytest.raises(DatasetError, match=r"15 x 32 pixels are no multiples"):
        make_plan(with_source(request_, subsets=(Subset(folder, sides=(15, 32)),)))


@pytest.mark.long
def test_a_run_on_folders_is_resumed_bit_for_bit_and_every_part_of_it_counts(
    request_: Request, tmp_path: Path
) -> None:
    wished = two_folders(request_, tmp_path)
    straight = add_concept(wished).content_hash
    stopped = replace(wished, project=tmp_path / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight
    record = Project.open(wished.project).concepts[0]
    assert len(record.images) == 9
    first, second, others = wished.source.subsets  # type: ignore[union-attr]  # they are pictures
    changed = {
        "heavier": (first, second, replace(others, loss_weight=1.0)),
        "mirrored": (replace(first, augmentation=AugmentationSettings(flip_aug=True)), second, others),
        "larger": (first, replace(second, resolution=None), others),
        "alone": (first, second),
    }
    found = {
        name: add_concept(replace(with_source(wished, subsets=subsets), project=tmp_path / name)).content_hash
        for name, subsets in changed.items()
    }
    assert len({straight, *found.values()}) == 5


def test_regularisation_pictures_are_no_memory_of_the_concept(request_: Request, tmp_path: Path) -> None:
    """Words that a strategy keeps are the concept's own, and it is measured by its own pictures."""
    wished = two_folders(request_, tmp_path)
    settings = None if request_.settings is None else request_.settings.with_values(strategy="distill")
    add_concept(replace(wished, settings=settings))
    opened = Project.open(wished.project)
    assert opened.checkpoint_path is not None
    context = make_plan(replace(wished, token="uwu", settings=settings)).context
    assert isinstance(context.evolving(), Evolving)
    kept = [prompt for one in context.kept_prompts("distill") for prompt in one.prompts]
    assert kept == ["one a photo of sks dog", "a photo of sks dog two"]


def test_mirrored_pictures_are_shown_half_of_the_time(request_: Request) -> None:
    plan = make_plan(
        replace(
            request_,
            settings=None if request_.settings is None else request_.settings.with_values(flip_aug=True),
        )
    )
    square = SizeConditioning((8, 8), (0, 0), (8, 8))
    plain = [Example(torch.zeros(1), torch.zeros(1), "plain", square, None) for _ in range(3)]
    mirrored = {number: replace(one, prompt="mirrored") for number, one in enumerate(plain)}

    class _Schedule:
        def batch_at(self, step: int) -> tuple[int, ...]:
            return 0, step % 2 + 1

    encoded = Encoded(plain, mirrored, [], _Schedule())  # type: ignore[arg-type]
    model: Any = SimpleNamespace(tokens=str.split)  # nothing is encoded anew
    shown = step_examples(encoded, plan, model)
    kinds = Counter(one.prompt for step in range(1000) for one in shown(step))
    assert 900 < kinds["mirrored"] < 1100
    assert [one.prompt for one in shown(7)] == [one.prompt for one in step_examples(encoded, plan, model)(7)]


def test_pictures_that_sd_scripts_would_break_are_named_before_the_run(
    request_: Request, tmp_path: Path
) -> None:
    narrow = drawn(tmp_path / "narrow", [(64, 64), (17, 97)])
    buckets = KohyaBuckets(smallest=32, largest=96, step=32, no_upscale=True)
    wished = with_source(request_, folder=narrow, subsets=(Subset(narrow, buckets=buckets),))
    with pytest.raises(DatasetError, match=r"1 picture cannot be cut:\n.*001.png: a picture of 17 x 97 px"):
        make_plan(wished)
    odd = KohyaBuckets(smallest=8, largest=64, step=6)
    with pytest.raises(DatasetError, match="bucket_reso_steps 6 is no multiple of 4"):
        make_plan(with_source(request_, folder=narrow, subsets=(Subset(narrow, buckets=odd),)))


def test_other_things_alone_teach_no_concept(request_: Request) -> None:
    alone = with_source(request_, subsets=(Subset(folder_of(request_), regularisation=True),))
    with pytest.raises(DatasetError, match="regularisation pictures alone"):
        make_plan(alone)


def test_the_ending_of_captions_is_said(request_: Request) -> None:
    folder = folder_of(request_)
    for number, image in enumerate(sorted(folder.glob("*.png"))):
        image.with_suffix(".tags").write_text(f"sks dog, number {number}", encoding="utf-8")
        image.with_suffix(".txt").write_text("another caption", encoding="utf-8")
    wished = with_source(request_, subsets=(Subset(folder, caption_extension=".tags"),))
    assert [one.caption for one in make_plan(wished).dataset.pictures] == [
        f"sks dog, number {number}" for number in range(3)
    ]
