"""The files that ship: complete, small enough, and drawing what the prompt says."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import check_each
from PIL import Image

from clora_ext import (
    GenerateRequest,
    Pictures,
    Request,
    Settings,
    generate,
    inspect_file,
    make_plan,
    suggested_settings,
)  # fmt: skip
from clora_ext.data import RARE_TOKENS
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.families.sd1 import CONFIG_KEY

ASSETS = DEMO_MODEL.parent
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_files_are_there_and_small_enough() -> None:
    assert DEMO_MODEL.stat().st_size <= 40_000_000
    assert (ASSETS / "demo_scorer.safetensors").stat().st_size <= 15_000_000
    attribution = (ASSETS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert all(name in attribution for name in ("Noto", "Apache", "Twemoji", "CC BY 4.0", "Fluent", "MIT"))


def test_the_model_is_one_half_precision_file_in_the_original_layout() -> None:
    report = inspect_file(DEMO_MODEL)
    assert (report.kind, report.family, set(report.dtypes)) == ("checkpoint", "sd1", {"F16"})
    assert CONFIG_KEY in report.metadata


def test_every_rare_token_is_one_token() -> None:
    vocabulary = json.loads((ASSETS / "demo_tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    assert all(f"{token}</w>" in vocabulary for token in RARE_TOKENS)


BACKGROUNDS = {"red": (214, 54, 48), "blue": (72, 104, 216)}


@pytest.mark.long
def test_it_draws_the_background_that_is_asked_for(tmp_path: Path) -> None:
    def check(colour: str) -> None:
        drawing = GenerateRequest(f"a noto tiger on a {colour} background", count=1, seed=3, steps=10)
        (file,) = generate(DEMO_MODEL, drawing, tmp_path / f"{colour}.png")
        with Image.open(file) as image:
            corners = np.asarray(image.convert("RGB"), dtype=float)[[2, 2, -3, -3], [2, -3, 2, -3]]
        assert np.abs(np.median(corners, axis=0) - BACKGROUNDS[colour]).max() < 40

    check_each(BACKGROUNDS, check)


def test_a_plan_without_a_base_starts_on_it(tmp_path: Path) -> None:
    plan = make_plan(Request(Pictures(EXAMPLES / "dog_images"), tmp_path / "model", settings=Settings()))
    assert (plan.context.base.kind, plan.context.base_file, plan.resolution) == ("demo", DEMO_MODEL, 64)
    assert len(plan.targets) == 84
    assert suggested_settings(tmp_path / "model") == Settings()
    assert plan.sample_prompt == "a photo of sks dog"


CLASS_NAMES = {"dog_images": "dog", "pastel_style": "pastel style", "robot_toy": "robot toy"}


def test_the_example_folders_can_be_taught(tmp_path: Path) -> None:
    def check(folder: str) -> None:
        plan = make_plan(Request(Pictures(EXAMPLES / folder), tmp_path / "model"))
        assert plan.concept.class_name == CLASS_NAMES[folder]
        assert not plan.dataset.rejected
        assert not [picture for picture in plan.dataset.pictures if picture.caption_from == "default"]

    check_each(CLASS_NAMES, check)
