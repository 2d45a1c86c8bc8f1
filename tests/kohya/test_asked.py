"""What files ask of clora: every value by clora's name, as sd-scripts takes it, and who counts more."""

from pathlib import Path
from typing import Any

from asking import RATE, asked
from cases import check_each

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import Settings
from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors
from clora_ext.runs.lora_output import LoraOutput

DATA = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'dogs'\n"


# What a training file says besides a rate, and what then holds under clora's names.
TRANSLATED: list[tuple[str, dict[str, Any]]] = [
    ("", {"rank": 4, "alpha": 1.0, "steps": 1600, "batch_size": 1, "learning_rate": 1e-4, "warmup_steps": 0}),
    ("", {"weight_decay": 0.01, "max_grad_norm": 1.0, "targets": "transformer", "text_encoder": True}),
    ("network_dim = 16\nnetwork_alpha = 8", {"rank": 16, "alpha": 8.0}),
    ("network_dim = 16\nnetwork_alpha = 0", {"alpha": 16.0}),
    ("network_alpha = 0", {"alpha": 4.0}),
    ("unet_lr = 3e-4", {"learning_rate": 3e-4, "text_encoder": True}),
    ("text_encoder_lr = 0", {"text_encoder": False}),
    ("text_encoder_lr = [0.0, 1e-5]", {"text_encoder": False}),
    ("network_train_unet_only = true", {"text_encoder": False}),
    ("network_train_unet_only = false", {"text_encoder": True}),
    ("network_train_text_encoder_only = true", {"text_encoder_only": True, "learning_rate": 1e-4}),
    ("unet_lr = 0", {"text_encoder_only": True, "learning_rate": 1e-4, "text_encoder_lr": None}),
    ("unet_lr = 0\ntext_encoder_lr = 5e-5", {"text_encoder_only": True, "learning_rate": 5e-5}),
    ('network_args = ["conv_dim=8"]', {"conv_rank": 8, "conv_alpha": 1.0}),
    ('network_args = ["conv_dim=8", "conv_alpha=4"]', {"conv_rank": 8, "conv_alpha": 4.0}),
    ('network_args = ["conv_alpha=4"]', {"conv_rank": None, "conv_alpha": None}),
    (
        'network_dropout = 0.1\nnetwork_args = ["rank_dropout=0.2", "module_dropout=0.3"]',
        {"network_dropout": 0.1, "rank_dropout": 0.2, "module_dropout": 0.3},
    ),
    (
        (
            'network_module = "lycoris.kohya"\nnetwork_dim = 8\n'
            'network_args = ["algo=lora", "preset=attn-mlp", "dora_wd=True", "wd_on_output=true", '
            '"rs_lora=True", "conv_dim=4", "conv_alpha=1", "module_dropout=0.1", "loraplus_lr_ratio=4"]'
        ),
        {
            "dora": True,
            "rslora": True,
            "rank": 8,
            "targets": "transformer",
            "conv_rank": None,
            "conv_alpha": None,
            "module_dropout": 0.1,
            "loraplus_ratio": 4.0,
        },
    ),
    (
        "network_module = 'lycoris.kohya'\nnetwork_args = ['preset=attn-mlp', 'dora_wd=true', 'algo=LoCon']",
        {"dora": True},
    ),
    ("scale_weight_norms = 1\ntorch_compile = true", {"scale_weight_norms": 1.0, "torch_compile": True}),
    ("fp8_base = true", {"fp8_base": True}),
    ("fp8_base_unet = true\nfp8_base = false", {"fp8_base": True}),
    ("max_train_steps = 300", {"steps": 300}),
    ("max_train_epochs = 3", {"epochs": 3}),
    ("max_train_epochs = 3\nmax_train_steps = 300", {"epochs": 3}),
    ('lr_scheduler = "constant_with_warmup"\nlr_warmup_steps = 30', {"warmup_steps": 30}),
    (
        'lr_scheduler = "constant_with_warmup"\nlr_warmup_steps = 0.1\nmax_train_steps = 300',
        {"warmup_share": 0.1},
    ),
    ('lr_scheduler = "constant_with_warmup"\nlr_warmup_steps = "5%"', {"warmup_share": 0.05}),
    ('lr_scheduler = "cosine"\nlr_scheduler_num_cycles = 3', {"lr_scheduler": "cosine", "lr_cycles": None}),
    ('lr_scheduler = "cosine"\nlr_scheduler_args = ["num_cycles=1.5"]', {"lr_cycles": 1.5}),
    ('lr_scheduler = "cosine_with_restarts"\nlr_scheduler_num_cycles = 3', {"lr_cycles": 3.0}),
    ('lr_scheduler = "polynomial"\nlr_scheduler_args = ["lr_end=1e-6"]', {"lr_end": 1e-6}),
    ('optimizer_type = "adamw"\noptimizer_args = ["weight_decay=0.1"]', {"weight_decay": 0.1}),
    (
        'optimizer_type = "ADAMW8BIT"',
        {"optimizer_type": "AdamW8bit", "weight_decay": 0.01, "optimizer_args": None},
    ),
    ("use_lion_optimizer = true", {"optimizer_type": "Lion", "weight_decay": 0.0}),
    (
        (
            'optimizer_type = "prodigyplus.ProdigyPlusScheduleFree"\n'
            'optimizer_args = ["betas=(0.9, 0.99)", "weight_decay=0.1", "d_coef=2"]'
        ),
        {
            "optimizer_type": "ProdigyPlusScheduleFree",
            "weight_decay": 0.1,
            "optimizer_args": "betas=(0.9,0.99) d_coef=2",
        },
    ),
    (
        "gradient_accumulation_steps = 4\nmax_grad_norm = 0",
        {"gradient_accumulation_steps": 4, "max_grad_norm": 0},
    ),
    ('resolution = "768"', {"resolution": 768}),
    ("train_batch_size = 4\nseed = 7", {"batch_size": 4, "seed": 7}),
    ("gradient_checkpointing = true", {"gradient_checkpointing": True}),
    ("max_grad_norm = 0.5", {"max_grad_norm": 0.5}),
    ("sample_every_n_steps = 100", {"preview_every": 100}),
    ("v_parameterization = true\nzero_terminal_snr = true", {"prediction": "v", "zero_snr": True}),
    ("v_parameterization = false", {"prediction": None}),
    (
        "shuffle_caption = true\nkeep_tokens = 2\ncaption_dropout_rate = 0.1\ncaption_prefix = 'P'",
        {"shuffle_caption": True, "keep_tokens": 2, "caption_dropout": 0.1, "caption_prefix": "P"},
    ),
    (
        (
            "enable_wildcard = true\ncaption_tag_dropout_rate = 0.2\ncaption_dropout_every_n_epochs = 3\n"
            "caption_suffix = 'S'\ncaption_separator = ';'\nsecondary_separator = '&'\n"
            "keep_tokens_separator = '|||'"
        ),
        {
            "wildcards": True,
            "tag_dropout": 0.2,
            "caption_dropout_every": 3,
            "caption_suffix": "S",
            "caption_separator": ";",
            "secondary_separator": "&",
            "keep_tokens_separator": "|||",
        },
    ),
    (
        'pretrained_model_name_or_path = "runwayml/stable-diffusion-v1-5"',
        {"base": "runwayml/stable-diffusion-v1-5"},
    ),
]


def test_every_key_becomes_what_it_does_in_sd_scripts(tmp_path: Path) -> None:
    def look(case: tuple[str, dict[str, Any]]) -> None:
        text, wanted = case
        found = asked(tmp_path, RATE + text)
        for name, value in wanted.items():
            actual = found.values.get(name)
            assert (str(actual) if isinstance(actual, Path) else actual) == value, name
        assert ("steps" in found.settings) != ("epochs" in found.settings)

    check_each(TRANSLATED, look)


def test_what_is_asked_for_are_settings_of_clora(tmp_path: Path) -> None:
    found = asked(tmp_path, RATE, DATA)
    assert set(found.settings) <= set(knob_fields(Settings))
    assert not Settings.of(**found.settings).problems()


def test_paths_start_at_the_folder_of_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.safetensors").touch()
    train = RATE + "pretrained_model_name_or_path = 'models/x.safetensors'\noutput_dir = 'out'\n"
    found = asked(tmp_path, train + "train_data_dir = 'img'\nnetwork_weights = 'first.safetensors'", "")
    assert asked(tmp_path, train + "vae = 'v'\ntrain_data_dir = 'img'", "").vae == tmp_path / "v"
    prompts = "sample_prompts = 'p.txt'\nsample_every_n_steps = 9\ntrain_data_dir = 'img'"
    assert asked(tmp_path, train + prompts, "").preview_prompts == tmp_path / "p.txt"
    assert found.start_from == tmp_path / "first.safetensors"
    assert found.base == tmp_path / "models" / "x.safetensors"
    assert found.export_lora == LoraOutput(tmp_path / "out" / "last.safetensors")
    assert found.images == tmp_path / "img"
    named = asked(tmp_path, train + "output_name = 'dog v1.2'", DATA)
    assert named.export_lora == LoraOutput(tmp_path / "out" / "dog v1.2.safetensors")
    assert [(one.folder, one.repeats) for one in named.subsets] == [(tmp_path / "dogs", 1)]


def test_flags_count_more_than_the_dataset_file_and_that_more_than_the_training_file(tmp_path: Path) -> None:
    train = RATE + "train_batch_size = 2\nresolution = '512,512'\nseed = 1\nmax_train_epochs = 2\n"
    data = "[general]\nresolution = 640\n" + DATA.replace("[[datasets]]", "[[datasets]]\nbatch_size = 4", 1)
    found = asked(tmp_path, train, data, batch_size=8, steps=10, seed=1, images=Path("cats"))
    assert (found.settings["batch_size"], found.settings["resolution"], found.images) == (
        8,
        640,
        Path("cats"),
    )
    assert found.settings["steps"] == 10
    assert "epochs" not in found.settings
    assert [line.replace(f"{tmp_path}/", "") for line in found.overruled] == [
        "train.toml:2  train_batch_size = 2: batch_size = 4 counts more",
        "train.toml:3  resolution = 512,512: resolution = 640 counts more",
        "data.toml:4  batch_size = 4: --batch-size 8 counts more",
        "train.toml:5  max_train_epochs = 2: --steps 10 counts more",
        "data.toml:6  image_dir = dogs: IMAGES cats counts more",
    ]


def test_a_dataset_file_alone_says_nothing_of_the_training(tmp_path: Path) -> None:
    found = asked(tmp_path, "", DATA)
    assert found.settings == {}
    assert found.images == tmp_path / "dogs"


def test_every_value_knows_where_it_comes_from(tmp_path: Path) -> None:
    found = asked(tmp_path, RATE, DATA, rank=2)
    assert found.origins["rank"].place == "--rank"
    assert found.origins["alpha"].place == "sd-scripts' default"
    assert found.origins["learning_rate"].place == f"{tmp_path / 'train.toml'}:1"
    assert found.origins.keys() == found.values.keys()


def test_the_finished_lora_is_kept_as_the_training_file_says(tmp_path: Path) -> None:
    text = RATE + "output_dir = 'out'\noutput_name = 'x'\nsave_precision = 'float'\nsave_every_n_steps = 10\n"
    text += (
        "save_last_n_steps = 30\nsave_every_n_epochs = 2\nsave_last_n_epochs = 3\ntraining_comment = 'C'\n"
    )
    found = asked(
        tmp_path, text + "metadata_author = 'A'\nmetadata_license = 'L'\nsample_every_n_epochs = 2\n"
    )
    assert found.export_lora == LoraOutput(
        tmp_path / "out" / "x.safetensors",
        dtype="fp32",
        about={"author": "A", "license": "L"},
        comment="C",
        every_steps=10,
        every_epochs=2,
        last_steps=30,
        last_epochs=3,
    )
    assert found.settings["preview_every_epochs"] == 2


def test_small_pictures_and_the_way_to_resize_hold_for_folders(tmp_path: Path) -> None:
    data = DATA.replace("[[datasets]]", "[[datasets]]\nskip_image_resolution = [640, 480]", 1)
    (found,) = asked(tmp_path, RATE + "resize_interpolation = 'area'\n", data).subsets
    assert (found.skipped, found.interpolation) == ((640, 480), "area")
    text = RATE + "train_data_dir = 'a'\nskip_image_resolution = '512'\n"
    (alone,) = asked(tmp_path, text).subsets
    assert (alone.skipped, alone.interpolation) == ((512, 512), "lanczos")


def test_numbers_go_where_they_are_sent(tmp_path: Path) -> None:
    text = RATE + "logging_dir = 'logs'\nlog_with = 'tensorboard'\nlog_prefix = 'p-'\n"
    found = asked(tmp_path, text)
    assert (found.log_dir, found.log_prefix) == (tmp_path / "logs", "p-")
    assert found.wandb_project is None
    there = asked(tmp_path, RATE + "log_with = 'wandb'\nlogging_dir = 'logs'\nwandb_run_name = 'r'\n")
    assert (there.log_dir, there.wandb_project, there.wandb_name) == (None, "network_train", "r")
    both = asked(tmp_path, RATE + "log_with = 'all'\nlogging_dir = 'logs'\nlog_tracker_name = 'dogs'\n")
    assert (both.log_dir, both.wandb_project) == (tmp_path / "logs", "dogs")


def test_numbers_have_a_place_to_go(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    for wrong in ("log_with = 'tensorboard'", "log_with = 'all'"):
        file.write_text(f"{RATE}{wrong}\n", encoding="utf-8")
        assert [one.key for one in errors(check([file]).findings)] == ["log_with"]
    file.write_text(f"{RATE}log_tracker_name = 'dogs'\n", encoding="utf-8")
    assert "changes nothing" in str([one.message for one in check([file]).findings])


def test_masks_are_asked_for_in_the_training_file(tmp_path: Path) -> None:
    data = DATA + "  conditioning_data_dir = 'masks'\n"
    (found,) = asked(tmp_path, RATE + "masked_loss = true\n", data).subsets
    assert (found.mask_folder, found.masks.masked_loss) == (tmp_path / "masks", True)
    (tmp_path / "data.toml").write_text(data, encoding="utf-8")
    assert not errors(check([tmp_path / "data.toml"]).findings)
    (tmp_path / "train.toml").write_text(RATE, encoding="utf-8")
    (wrong,) = errors(check([tmp_path / "train.toml", tmp_path / "data.toml"]).findings)
    assert (wrong.key, wrong.suggestion) == ("conditioning_data_dir", "write masked_loss = true there")
    (both,) = asked(tmp_path, RATE + "alpha_mask = true\n", DATA).subsets
    assert both.masks.alpha_mask
