"""What dataset files ask of clora: every folder with what holds for it."""

from pathlib import Path

from asking import RATE, asked, checked

from clora_ext.config.settings import CaptionSettings
from clora_ext.data import KohyaBuckets
from clora_ext.kohya.finding import errors

DATA = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'dogs'\n"
FOLDERS = """[general]
resolution = 512
caption_extension = ".tags"
enable_bucket = true
shuffle_caption = true

[[datasets]]
batch_size = 4

  [[datasets.subsets]]
  image_dir = "dogs"
  num_repeats = 10
  keep_tokens = 1
  flip_aug = true

  [[datasets.subsets]]
  image_dir = "others"
  is_reg = true
  class_tokens = "dog"
  custom_attributes = { diff_output_preservation = true }

[[datasets]]
resolution = 768
batch_size = 2
min_bucket_reso = 320
bucket_no_upscale = true

  [[datasets.subsets]]
  image_dir = "dogs"
  shuffle_caption = false
"""


def test_every_folder_has_what_holds_for_it(tmp_path: Path) -> None:
    found = asked(tmp_path, RATE + "prior_loss_weight = 0.5\n", FOLDERS)
    first, second, others = found.subsets
    assert [one.folder.name for one in found.subsets] == ["dogs", "dogs", "others"]
    assert (first.repeats, first.captions.keep_tokens, first.captions.shuffle_caption) == (10, 1, True)
    assert (first.resolution, first.batch_size) == (None, None)  # as the run's
    assert (found.settings["resolution"], found.settings["batch_size"]) == (512, 4)
    assert (second.resolution, second.batch_size, second.captions.shuffle_caption) == (768, 2, False)
    assert [one.augmentation.flip_aug for one in found.subsets] == [True, False, False]
    assert second.buckets == KohyaBuckets(320, no_upscale=True)
    assert first.buckets == others.buckets == KohyaBuckets()
    assert (others.regularisation, others.loss_weight, others.default_caption) == (True, 0.5, "dog")
    assert (first.loss_weight, first.dataset, others.dataset, second.dataset) == (1.0, 0, 0, 1)
    assert [one.preservation for one in found.subsets] == [False, False, True]
    assert {one.caption_extension for one in found.subsets} == {".tags"}


def test_width_and_height_are_those_of_pictures_and_samples_get_a_square(tmp_path: Path) -> None:
    train = RATE + "resolution = '512,768'\ntrain_data_dir = 'img'\n"
    found = asked(tmp_path, train)
    assert found.settings["resolution"] == 576
    assert found.subsets[0].sides == (512, 768)
    square = asked(tmp_path, train, resolution=640)
    assert (square.settings["resolution"], square.subsets[0].sides) == (640, None)
    assert len([line for line in square.overruled if "resolution = 512,768" in line]) == 1
    folders = "[[datasets]]\nresolution = [640, 512]\n[[datasets.subsets]]\nimage_dir = 'dogs'\n"
    folders += (
        "validation_split = 0.2\n[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = 'a'\n"
    )
    first, second = asked(tmp_path, RATE + "resolution = '512,768'\n", folders).subsets
    assert (first.sides, second.sides) == ((640, 512), None)
    assert (first.validation_split, second.validation_split) == (None, 0.0)  # of the run, and of its own


def test_a_folder_that_is_held_out_whole_says_nothing_for_the_run(tmp_path: Path) -> None:
    held_out = "[[datasets.subsets]]\nimage_dir = 'b'\nvalidation_split = 1.0\n"
    folders = f"[[datasets]]\nresolution = 512\n{held_out}[[datasets.subsets]]\nimage_dir = 'a'\n"
    found = asked(tmp_path, RATE, folders)
    assert [(one.folder.name, one.validation_split) for one in found.subsets] == [("a", None), ("b", 1.0)]
    assert found.settings.get("validation_split", 0.0) == 0.0
    alone = f"[[datasets]]\nresolution = 512\n{held_out}"
    (wrong,) = errors(checked(tmp_path, alone, "data.toml").findings)
    assert (wrong.line, wrong.message) == (5, "leaves nothing to train on")


def test_a_folder_on_the_command_line_stands_for_all_of_the_concepts(tmp_path: Path) -> None:
    found = asked(tmp_path, RATE, FOLDERS, images=Path("cats"), shuffle_caption=False)
    assert [(one.folder.name, one.regularisation) for one in found.subsets] == [
        ("cats", False),
        ("others", True),
    ]
    assert not any(one.captions.shuffle_caption for one in found.subsets)
    told = [line.replace(f"{tmp_path}/", "") for line in found.overruled]
    assert "data.toml:11  image_dir = dogs: IMAGES cats counts more" in told
    assert "data.toml:29  image_dir = dogs: IMAGES cats counts more" in told
    assert len(told) == len(set(told))


def test_a_training_file_names_two_folders_at_the_most(tmp_path: Path) -> None:
    text = RATE + "train_data_dir = 'img'\nreg_data_dir = 'reg'\nenable_bucket = true\nflip_aug = true\n"
    found = asked(tmp_path, text)
    taught, others = found.subsets
    assert (taught.folder, taught.regularisation) == (tmp_path / "img", False)
    assert (others.folder, others.regularisation) == (tmp_path / "reg", True)
    assert taught.buckets == others.buckets == KohyaBuckets()
    assert taught.augmentation.flip_aug
    assert asked(tmp_path, RATE).subsets == ()


def test_a_folder_that_a_dataset_names_twice_counts_once(tmp_path: Path) -> None:
    twice = DATA + '\n  [[datasets.subsets]]\n  image_dir = "dogs"\n  num_repeats = 5\n'
    assert [one.repeats for one in asked(tmp_path, RATE, twice).subsets] == [1]


def test_what_a_table_switches_off_is_off_whatever_stands_above(tmp_path: Path) -> None:
    above = "[general]\nshuffle_caption = true\ncaption_prefix = 'P'\nkeep_tokens = 2\nenable_bucket = true\n"
    below = "enable_bucket = false\n  [[datasets.subsets]]\n  image_dir = 'dogs'\n  shuffle_caption = false\n"
    below += "  caption_prefix = ''\n  keep_tokens = 0\n"
    train = RATE + "shuffle_caption = true\nflip_aug = true\n"
    (found,) = asked(tmp_path, train, f"{above}\n[[datasets]]\n{below}  flip_aug = false\n").subsets
    assert found.captions == CaptionSettings()
    assert not found.augmentation.flip_aug
    assert found.buckets is None
