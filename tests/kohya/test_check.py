"""Files of sd-scripts, read whole: what is said of each key, and in which order."""

import json
from pathlib import Path

from cases import check_each
from hypothesis import given
from hypothesis import strategies as st

from clora_ext.kohya.check import Checked, check
from clora_ext.kohya.finding import errors, notes
from clora_ext.kohya.key import dataset_keys, training_keys

DATASET_FILES = json.loads(Path(__file__).with_name("dataset_files.json").read_text(encoding="utf-8"))
"""Small dataset files, and what sd-scripts 0.11.1 makes of each."""

RATE = "learning_rate = 1e-4\n"


def checked(folder: Path, text: str, name: str = "train.toml") -> Checked:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return check([path])


def said(found: Checked) -> dict[str, tuple[str, str]]:
    return {one.key: (one.verdict, one.message) for one in found.findings}


MORE_IS_READ = {  # conversions that are told, and zeros and ones that mean the same
    *("subset num_repeats = 1.0", 'subset num_repeats = "10"', 'subset keep_tokens = "1"'),
    *('dataset batch_size = "2"', 'general batch_size = "2"', "subset validation_seed = 7"),
    *(
        f"{scope} resolution = {value}"
        for scope in ("dataset", "general")
        for value in ('"512,512"', "[512]")
    ),
    *(f"{scope} resolution = 512.0" for scope in ("dataset", "general")),
    *(f"{scope} validation_split = 0" for scope in ("dataset", "general")),
    *(f'{scope} skip_image_resolution = "768"' for scope in ("dataset", "general")),
    *(f"{scope} network_multiplier = 1" for scope in ("dataset", "general")),
    # masks, for which the training file may ask, and which clora takes from some folders alone
    *('subset conditioning_data_dir = "m"', "masked: conditioning and class_tokens"),
    *("masked: one of two subsets with masks", "subset validation_split = 0.1"),
    *("BOM", "subset flip_aug = 1", 'subset caption_dropout_rate = "0.1"'),
}


def test_what_sd_scripts_refuses_in_a_dataset_file_is_refused_or_read_as_what_was_meant(
    tmp_path: Path,
) -> None:
    def look(case: tuple[str, str, str]) -> None:
        name, text, verdict = case
        wrong = errors(checked(tmp_path, text, "data.toml").findings)
        if verdict != "accepted":
            assert bool(wrong) == (name not in MORE_IS_READ), [one.sentence for one in wrong]

    check_each(DATASET_FILES, look)


def test_what_sd_scripts_accepts_is_refused_for_a_reason_only(tmp_path: Path) -> None:
    """Nothing to train on, values that cannot be meant, and what clora does not do, or not yet."""
    reasons = ("names no pictures", "is empty", "is less than", "is more than", "is no number", "no 'magic'")
    reasons += ("not built yet", "clora reads no metadata", "are not built", "is not built", "pictures alone")

    def look(case: tuple[str, str, str]) -> None:
        _, text, verdict = case
        for one in errors(checked(tmp_path, text, "data.toml").findings):
            assert verdict != "accepted" or any(reason in one.message for reason in reasons), one.sentence

    check_each(DATASET_FILES, look)


# sd-scripts checks nothing in a training file; what it would take instead is in the comments.
TYPING: list[tuple[str, str, str, str]] = [
    ("learning_rat = 1e-4", "learning_rat", "error", "no such option"),  # trains at 0.000002
    ('learning_rate = "1e-4"', "learning_rate", "honour", "'1e-4' read as 0.0001"),  # a text
    ('mixed_precision = "bf61"', "mixed_precision", "error", "no 'bf61'"),  # the text
    ("[a.b]\nlearning_rate = 1.0", "b", "error", "a table inside a section"),  # never read
    ("network_dim = 8.5", "network_dim", "error", "8.5 is no whole number"),  # 8.5
    ('network_dim = "8"', "network_dim", "honour", "'8' read as 8"),  # a text
    ("network_dim = 8.0", "network_dim", "honour", "read as 8"),  # 8.0
    ("network_dim = true", "network_dim", "error", "true is no number"),  # True
    ('flip_aug = "false"', "flip_aug", "error", "takes for true whatever it says"),  # true
    ("gradient_checkpointing = 1", "gradient_checkpointing", "honour", "read as true"),
    ('network_args = "conv_dim=4"', "network_args", "refuse", "not built yet"),  # letters
    ("resolution = 512", "resolution", "honour", "read as [512, 512]"),  # stops
    ('resolution = "512,512"', "resolution", "honour", ""),
    ('resolution = "512x768"', "resolution", "error", "no number"),
    ("lr_warmup_steps = 10.0", "lr_warmup_steps", "error", "it is a share, 10 times the whole run"),
    ("lr_warmup_steps = 1.0", "lr_warmup_steps", "error", "it is a share, the whole run"),
    ('lr_warmup_steps = "110%"', "lr_warmup_steps", "error", "no share below 100%"),
    ("learning_rate = nan", "learning_rate", "error", "no finite number"),
    ("learning_rate = -1", "learning_rate", "error", "-1 is not more than 0"),
    ("seed = -1", "seed", "error", "-1 is less than 0"),
    ('lr_scheduler = "banana"', "lr_scheduler", "error", "no 'banana'"),
    ('loss_type = "l3"', "loss_type", "error", "no 'l3'"),
    ('loss_type = "l1"', "loss_type", "refuse", "not built yet"),
    ('save_model_as = "ckpt"', "save_model_as", "refuse", "pickle"),
    ("max_timestep = 1000", "max_timestep", "neutral", ""),
    ("v2 = false", "v2", "neutral", ""),
    ("v2 = true", "v2", "refuse", "Stable Diffusion 2"),
    ('optimizer_type = "adamW"', "optimizer_type", "honour", ""),
    ('optimizer_type = "Prodigy"', "optimizer_type", "refuse", "not built yet"),
    ('optimizer_type = "os.system"', "optimizer_type", "refuse", "imports nothing that a file names"),
    ('optimizer_args = ["weight_decay=0.1"]', "optimizer_args", "honour", ""),
    ('optimizer_args = ["weight_decay"]', "optimizer_args", "error", "no name=value"),
    ('optimizer_args = ["betas=.9,.99"]', "optimizer_args", "refuse", "'betas'"),
    ('network_module = "lycoris.kohya"', "network_module", "refuse", "not a plain LoRA but LyCORIS"),
    ("network_alpha = 0", "network_alpha", "honour", ""),
    ('output_name = "../x"', "output_name", "error", "no name of a file"),
    ('base_weights = ["x.safetensors"]', "base_weights", "refuse", "clora add-lora"),
    ("epoch = 4", "epoch", "note", "kohya_ss"),
    ("blocks_to_swap = 18", "blocks_to_swap", "refuse", "another family"),
]


def test_every_value_is_converted_with_a_note_or_refused(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str, str]) -> None:
        text, key, verdict, message = case
        found = checked(tmp_path, text if "learning_rate" in text else RATE + text)
        last = [one for one in found.findings if one.key == key][-1]
        assert last.verdict == verdict
        assert message in last.message
        assert bool(message) == bool(last.message)

    check_each(TYPING, look)


TOGETHER: list[tuple[str, str, str]] = [
    ("network_dim = 8", "learning_rate", "would train at 0.000002"),
    ("[a]\nlearning_rate = 1.0\n[b]\nlearning_rate = 2.0", "learning_rate", "stands on line 2 already"),
    (RATE + "lr_warmup_steps = 10", "lr_warmup_steps", "sd-scripts stops at a warm-up"),
    (RATE + 'lr_scheduler = "cosine"', "lr_scheduler", "not built yet"),
    (RATE + "text_encoder_lr = [1e-5, 2e-5]", "text_encoder_lr", "takes the first, 1e-05"),
    (RATE + "text_encoder_lr = 5e-5", "text_encoder_lr", "beside 0.0001 for the UNet"),
    ("unet_lr = 0", "unet_lr", "leaves the UNet as it is"),
    (RATE + "max_grad_norm = 0", "max_grad_norm", "not clipped"),
    (RATE + 'resolution = "512,768"', "resolution", "512 and 768"),
    (
        RATE + "max_train_steps = 10\nmax_train_epochs = 2",
        "max_train_steps",
        "max_train_epochs = 2 counts more",
    ),
    (RATE + 'dataset_config = "no.toml"', "dataset_config", "there is no file"),
    (RATE + "keep_tokens = 1", "keep_tokens", "changes nothing without shuffle_caption"),
    (
        "[general]\nkeep_tokens = 1\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'",
        "keep_tokens",
        "changes nothing without shuffle_caption",
    ),
]
FINE = [
    RATE + 'lr_warmup_steps = 10\nlr_scheduler = "constant_with_warmup"',
    RATE + "text_encoder_lr = 0",
    RATE + "text_encoder_lr = 1e-4",
    RATE + "text_encoder_lr = 5e-5\nnetwork_train_unet_only = true",
    "unet_lr = 1e-4",
    RATE + "keep_tokens = 1\nshuffle_caption = true",
]


def test_options_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str]) -> None:
        text, key, message = case
        assert any(
            one.key == key and message in one.message
            for one in checked(tmp_path, text).findings
            if one.message
        )

    check_each(TOGETHER, look)
    check_each(FINE, lambda text: _is_fine(checked(tmp_path, text)))


def _is_fine(found: Checked) -> None:
    assert not errors(found.findings), [one.sentence for one in errors(found.findings)]


FOREIGN: list[tuple[str, str, str]] = [
    ("[[subsets]]\nimage_dir = 'x'\n[general_args.args]\nseed = 1", "x.toml", "LoRA_Easy_Training_Scripts"),
    ('{"LoRA_type": "Standard", "seed": 1}', "x.json", "kohya_ss"),
    ("[configuration]\nconfig_dir = 'x'\n[model]\nmodels_dir = 'y'", "x.toml", "kohya_ss"),
    ("[metadata]\nname = 'x'\n[data]\nresolution = '768,768'", "x.toml", "a preset of lora-scripts"),
    ("[[datasets]]\nimage_directory = 'x'\ncache_directory = 'y'", "x.toml", "musubi-tuner"),
    ("[prompt]\nwidth = 512\n[[prompt.subset]]\nprompt = 'a cat'", "x.toml", "prompts for samples"),
    ("job: extension", "x.yaml", "YAML"),
    ("a cat --w 512", "prompts.txt", "prompts for samples"),
    ("", "x.toml", "is empty"),
]


def test_files_of_other_programs_are_called_what_they_are(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str]) -> None:
        text, name, words = case
        (only,) = checked(tmp_path, text, name).findings
        assert only.is_error
        assert words in only.message

    check_each(FOREIGN, look)


def test_all_faults_of_all_files_come_at_once_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text("[[datasets]]\nbatch_sise = 1\n[[datasets.subsets]]\nimage_dir = 'x'")
    train = tmp_path / "train.toml"
    train.write_text('seed = -1\ndataset_config = "data.toml"\nlearning_rat = 1\n')
    found = check([train])
    assert [(one.path.name, one.line, one.key) for one in errors(found.findings)] == [
        ("train.toml", 1, "seed"),
        ("train.toml", 3, "learning_rat"),
        ("data.toml", 2, "batch_sise"),
    ]
    assert found.files == (train, tmp_path / "data.toml")


def test_two_files_of_one_kind_are_one_too_many(tmp_path: Path) -> None:
    paths = [tmp_path / "a.toml", tmp_path / "b.toml"]
    for path in paths:
        path.write_text(RATE)
    assert [one.message for one in errors(check(paths).findings)] == [
        f"is a second training file beside {paths[0]}"
    ]


def test_what_a_subset_inherits(tmp_path: Path) -> None:
    """A subset's own value, else its dataset's, else the general one; 0 and false count too."""
    text = """
    [general]
    num_repeats = 2
    [[datasets]]
    num_repeats = 3
    batch_size = 4
      [[datasets.subsets]]
      image_dir = 'a'
      [[datasets.subsets]]
      image_dir = 'b'
      num_repeats = 5
    [[datasets]]
      [[datasets.subsets]]
      image_dir = 'c'
    """
    file = checked(tmp_path, text, "data.toml").dataset
    assert file is not None
    subsets = [subset for dataset in file.datasets for subset in dataset.subsets]
    assert [one.given["num_repeats"].value for one in subsets] == [3, 5, 2]
    assert [dataset.given.get("batch_size") is not None for dataset in file.datasets] == [True, False]


def test_a_key_in_the_wrong_table_is_sent_to_the_right_one(tmp_path: Path) -> None:
    text = "x = 1\nnum_repeats = 1\nseed = 1\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'\n"
    text += "batch_size = 2\nlearning_rate = 1"
    found = {one.key: one for one in errors(checked(tmp_path, text, "data.toml").findings)}
    assert found["batch_size"].suggestion == "move it to [general] or [[datasets]]"
    assert found["learning_rate"].suggestion == found["seed"].suggestion == "move it to the training file"
    assert found["num_repeats"].suggestion == "move it below [general]"
    assert found["x"].message == "no part of a dataset file"


LETTERS = "abcdefghijklmnopqrstuvwxyz_"


@given(data=st.data())
def test_every_slip_of_the_finger_is_recognised(data: st.DataObject) -> None:
    from clora_ext.kohya.nearest import nearest

    known = data.draw(st.sampled_from([tuple(training_keys()), tuple(dataset_keys())]))
    name = data.draw(st.sampled_from(known))
    place = data.draw(st.integers(0, len(name)))
    letter = data.draw(st.sampled_from(LETTERS))
    swapped = name[:place] + name[place : place + 2][::-1] + name[place + 2 :]
    slips = [name[:place] + letter + name[place:], name[:place] + name[place + 1 :], swapped]
    slips.append(name[:place] + letter + name[place + 1 :])
    slip = data.draw(st.sampled_from(slips))
    if slip not in known:
        found = nearest(slip, known)
        assert name in found or len(found) == 3


def test_notes_are_no_errors(tmp_path: Path) -> None:
    found = checked(tmp_path, RATE + "xformers = true\nsave_state = true\n")
    assert not errors(found.findings)
    assert [one.key for one in notes(found.findings)] == ["xformers", "save_state"]
