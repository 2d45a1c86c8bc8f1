"""Files of sd-scripts, read whole: what is said of each key, and in which order."""

import json
from pathlib import Path

from asking import RATE, checked
from cases import check_each

from clora_ext.kohya.check import Checked
from clora_ext.kohya.finding import errors

DATASET_FILES = json.loads(Path(__file__).with_name("dataset_files.json").read_text(encoding="utf-8"))
"""Small dataset files, and what sd-scripts 0.11.1 makes of each."""

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
    # TOML 1.0
    *("BOM", "heterogeneous resolution", "subset flip_aug = 1", 'subset caption_dropout_rate = "0.1"'),
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


def lycoris(*arguments: str) -> str:
    """A file that asks for a plain DoRA, but for these of its arguments."""
    usual = {"algo": "lora", "preset": "attn-mlp", "dora_wd": "True"}
    asked = usual | {name: value for name, _, value in (one.partition("=") for one in arguments)}
    written = [f"{name}={value}" for name, value in asked.items()]
    return f'network_module = "lycoris.kohya"\nnetwork_args = {written}'


# sd-scripts checks nothing in a training file; what it would take instead is in the comments.
TYPING: list[tuple[str, str, str, str]] = [
    ("learning_rat = 1e-4", "learning_rat", "error", "no such option"),  # trains at 0.000002
    ('learning_rate = "1e-4"', "learning_rate", "honour", "'1e-4' read as 0.0001"),  # a text
    ('mixed_precision = "bf61"', "mixed_precision", "error", "no 'bf61'"),  # the text
    ("[a.b]\nlearning_rate = 1.0", "b", "error", "a table inside a section"),  # never read
    ("batch_size = 2", "batch_size", "error", "an option of the dataset file"),  # nothing
    ("num_repeats = 2", "num_repeats", "error", "an option of the dataset file"),  # nothing
    ("network_dim = 8.5", "network_dim", "error", "8.5 is no whole number"),  # 8.5
    ('network_dim = "8"', "network_dim", "honour", "'8' read as 8"),  # a text
    ("network_dim = 8.0", "network_dim", "honour", "read as 8"),  # 8.0
    ("network_dim = true", "network_dim", "error", "true is no number"),  # True
    ('flip_aug = "false"', "flip_aug", "error", "takes for true whatever it says"),  # true
    ("gradient_checkpointing = 1", "gradient_checkpointing", "honour", "read as true"),
    ('network_args = "conv_dim=4"', "network_args", "honour", "read as a list of one"),  # letters
    ('network_args = ["conv_dim=4.5"]', "network_args", "error", "is no whole number above 0"),
    ('network_args = ["conv_alpha=1"]', "network_args", "note", "changes nothing without conv_dim"),
    ('network_args = ["rank_dropout=1"]', "network_args", "error", "is no share from 0"),
    ('network_args = ["block_dims=1,2"]', "network_args", "refuse", "not built: 'block_dims'"),
    ('network_args = ["loraplus_lr_ratio=16"]', "network_args", "honour", ""),
    ('network_args = ["loraplus_lr_ratio=x"]', "network_args", "error", "is no number above 0"),
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
    ('loss_type = "l1"', "loss_type", "honour", ""),
    ("network_dropout = 0.1", "network_dropout", "honour", ""),
    ("network_dropout = 1", "network_dropout", "error", "is more than 0.99"),
    ("torch_compile = true", "torch_compile", "honour", ""),
    ('save_model_as = "ckpt"', "save_model_as", "refuse", "pickle"),
    ("max_timestep = 1000", "max_timestep", "neutral", ""),
    ("v2 = false", "v2", "neutral", ""),
    ("v2 = true", "v2", "refuse", "Stable Diffusion 2"),
    ('optimizer_type = "adamW"', "optimizer_type", "honour", ""),
    ('optimizer_type = "prodigy"', "optimizer_type", "honour", ""),
    ('optimizer_type = "prodigyplus.ProdigyPlusScheduleFree"', "optimizer_type", "honour", ""),
    ('optimizer_type = "DAdaptAdam"', "optimizer_type", "refuse", "not built: 'DAdaptAdam'"),
    ('optimizer_type = "os.system"', "optimizer_type", "refuse", "imports nothing that a file names"),
    ('optimizer_args = ["weight_decay=0.1"]', "optimizer_args", "honour", ""),
    ('optimizer_args = ["weight_decay"]', "optimizer_args", "error", "no name=value"),
    ('optimizer_args = ["betas=.9,.99"]', "optimizer_args", "honour", ""),
    ('optimizer_args = ["weight_decay=x"]', "optimizer_args", "error", "is no number"),
    ('network_module = "lycoris.kohya"', "network_module", "refuse", "not a plain LoRA but LyCORIS"),
    ('network_module = "networks.dylora"', "network_module", "refuse", "not a plain LoRA but DyLoRA"),
    ('network_args = ["dora_wd=True"]', "network_args", "refuse", "would train without"),
    ("dora_wd = true", "dora_wd", "refuse", "lycoris.kohya with algo=lora"),
    (lycoris("algo=loha"), "network_module", "refuse", "not a plain LoRA but LyCORIS"),
    (lycoris("dora_wd=False"), "network_module", "refuse", "not a plain LoRA but LyCORIS"),
    (lycoris("preset=full"), "network_args", "refuse", "teaches layers that clora does not"),
    (lycoris("wd_on_output=False"), "network_args", "refuse", "not built: wd_on_output=False"),
    (lycoris("wd_on_output=0"), "network_args", "error", "takes all but False for true"),
    (lycoris("use_tucker=True"), "network_args", "refuse", "not built with dora_wd: 'use_tucker'"),
    (lycoris("rank_dropout=0.1"), "network_args", "refuse", "not built with dora_wd: 'rank_dropout'"),
    (lycoris("conv_dim=4"), "network_args", "note", "conv_dim changes nothing with preset=attn-mlp"),
    (lycoris("loraplus_lr_ratio=x"), "network_args", "error", "is no number above 0"),
    (lycoris() + "\nnetwork_dropout = 0.1", "network_dropout", "error", "LyCORIS does not read it"),
    (lycoris("train_norm=False", "dropout=0", "algo=LoCon"), "network_args", "honour", ""),
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
    (RATE + 'lr_scheduler = "adafactor"', "lr_scheduler", "not built yet"),
    (RATE + 'lr_scheduler = "cosine"\nlr_scheduler_power = 2', "lr_scheduler_power", "changes nothing with"),
    (
        RATE + 'lr_scheduler = "piecewise_constant"\nlr_warmup_steps = 9\n'
        "lr_scheduler_args = ['step_rules=\"1:10,0.1\"']",
        "lr_warmup_steps",
        "changes nothing with",
    ),
    (
        RATE + 'lr_scheduler = "warmup_stable_decay"\nlr_scheduler_args = ["decay_type=linear"]',
        "lr_scheduler_args",
        "not built yet: 'decay_type'",
    ),
    (
        RATE + 'lr_scheduler = "cosine"\nlr_scheduler_args = ["num_cycles=-1"]',
        "lr_scheduler_args",
        "is no number above 0",
    ),
    (RATE + "text_encoder_lr = [1e-5, 2e-5]", "text_encoder_lr", "takes the first, 1e-05"),
    ("unet_lr = 0\ntext_encoder_lr = 0", "unet_lr", "nothing is taught"),
    (
        RATE + "network_train_text_encoder_only = true\nnetwork_train_unet_only = true",
        "network_train_text_encoder_only",
        "nothing is taught",
    ),
    (RATE + "use_8bit_adam = true\nuse_lion_optimizer = true", "use_8bit_adam", "beside another optimiser"),
    (
        RATE + "max_train_steps = 10\nmax_train_epochs = 2",
        "max_train_steps",
        "max_train_epochs = 2 counts more",
    ),
    (RATE + "adaptive_noise_scale = 0.1", "adaptive_noise_scale", "without noise_offset"),
    (RATE + "huber_c = 0.2", "huber_c", "changes nothing without loss_type"),
    (RATE + "multires_noise_discount = 0.2", "multires_noise_discount", "changes nothing without"),
    (
        RATE + "v_parameterization = true\nv_pred_like_loss = 0.1",
        "v_pred_like_loss",
        "v_parameterization is on",
    ),
    (RATE + "zero_terminal_snr = true\nmin_snr_gamma = 5", "min_snr_gamma", "divides by the signal"),
    (RATE + 'sample_prompts = "p.txt"', "sample_prompts", "nothing is drawn without"),
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
    RATE + "text_encoder_lr = 5e-5",
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
