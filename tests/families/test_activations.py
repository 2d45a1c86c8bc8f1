"""What is said of a training step's memory, against a count of every tensor that is alive in one."""

from dataclasses import replace

import pytest
from cases import check_each
from live_bytes import counted
from real_shapes import MINI_SD1_UNET, TINY_SDXL_UNET, VAE, sd1_header, sdxl_header

from clora_ext import families
from clora_ext.config.settings import TargetSet
from clora_ext.families.latent.activations import picture_bytes, training_bytes
from clora_ext.families.step_shape import StepShape

MINI = {"unet": MINI_SD1_UNET, "vae": VAE}
TINY = {"unet": TINY_SDXL_UNET, "vae": VAE}
STEP = StepShape((256, 256), 1, "attention", 8, text_encoders=False, is_half=False, recompute=False)
CASES = [
    ("SD 1, kept", MINI, replace(STEP, size=(512, 384))),
    (
        "SD 1, half, all layers, recomputed",
        MINI,
        replace(STEP, targets="transformer", is_half=True, recompute=True),
    ),
    ("SD 1, half, recomputed", MINI, replace(STEP, is_half=True, recompute=True)),
    ("SDXL, half, two pictures", TINY, replace(STEP, pictures=2, is_half=True)),
    ("SDXL, all layers, rank 64", TINY, replace(STEP, targets="transformer", rank=64)),
    ("SD 1, convolutions too", MINI, replace(STEP, targets="transformer", convolutions=True)),
    (
        "SDXL, half, convolutions too",
        TINY,
        replace(STEP, targets="transformer", convolutions=True, is_half=True),
    ),
    ("SD 1, magnitudes", MINI, replace(STEP, magnitudes=True)),
    ("SD 1, all layers, magnitudes", MINI, replace(STEP, targets="transformer", magnitudes=True, pictures=2)),
    (
        "SDXL, half, all layers, magnitudes, recomputed",
        TINY,
        replace(STEP, targets="transformer", magnitudes=True, is_half=True, recompute=True),
    ),
    ("SDXL, convolutions and magnitudes", TINY, replace(STEP, magnitudes=True, convolutions=True)),
]


@pytest.mark.long
def test_a_steps_memory_is_as_counted() -> None:
    def check(case: tuple[str, dict[str, object], StepShape]) -> None:
        _, config, step = case
        found = counted(config, step)
        assert abs(training_bytes(config, step) - found) < 0.13 * found

    check_each(CASES, check)


def test_full_models_take_what_was_counted_for_them() -> None:
    """In MB, counted once by tests/families/live_bytes.py."""
    known = {
        ("sd1", False, False): 1650, ("sd1", True, False): 925, ("sd1", True, True): 242,
        ("sdxl", False, False): 11302, ("sdxl", True, False): 6563, ("sdxl", True, True): 550,
    }  # fmt: skip
    headers = {"sd1": (sd1_header(), 512), "sdxl": (sdxl_header(), 1024)}

    def check(case: tuple[str, bool, bool]) -> None:
        name, half, recompute = case
        header, side = headers[name]
        step = replace(STEP, size=(side, side), is_half=half, recompute=recompute)
        found = families.load(name).training_bytes(header, step)
        assert found is not None
        assert abs(found / 1e6 - known[case]) < 0.1 * known[case]

    check_each(known, check)


def test_wide_copies_of_8_bit_weights_take_what_was_counted() -> None:
    """In MB, counted as the above: a step, those copies included."""
    known = {("sd1", 512, "attention"): 458, ("sd1", 512, "transformer"): 528,
             ("sdxl", 1024, "attention"): 703, ("sdxl", 1024, "transformer"): 834}  # fmt: skip

    def check(case: tuple[str, int, TargetSet]) -> None:
        name, side, targets = case
        header = sd1_header() if name == "sd1" else sdxl_header()
        half = replace(STEP, size=(side, side), targets=targets, is_half=True, recompute=True)
        found = families.load(name).training_bytes(header, replace(half, copies_weights=True))
        assert found is not None
        assert known[case] < found / 1e6 < 1.12 * known[case]

    check_each(known, check)


def test_text_encoders_that_learn_and_pictures_take_memory_too() -> None:
    header, family = sdxl_header(), families.load("sdxl")
    without = family.training_bytes(header, STEP) or 0
    with_text = family.training_bytes(header, replace(STEP, text_encoders=True)) or 0
    assert 200e6 < with_text - without < 350e6  # 59.7 and 207.1 MB counted, one picture
    assert abs(picture_bytes({"vae": VAE}, (1024, 1024)) - 3221e6) < 5e6


def test_a_configuration_that_says_too_little_gives_no_estimate() -> None:
    header = sd1_header()
    family = replace(families.load("sd1"), config=lambda header, where: {"unet": {}, "vae": {}})  # type: ignore[type-var]
    assert family.training_bytes(header, STEP) is None
    assert family.picture_bytes(header, (64, 64)) is None
