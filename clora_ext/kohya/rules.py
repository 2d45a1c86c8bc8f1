"""What options of a training file ask for together, and values that the table cannot judge."""

from collections.abc import Iterator, Mapping

from clora_ext.formats.text import quoted

from .dataset_file import Dataset, DatasetFile
from .finding import Finding, Verdict
from .from_dataset import PRESERVATION, folders_of
from .judge import Given
from .lycoris import LYCORIS, check_lycoris
from .network_args import check_network_args
from .optimizer import check_optimizer
from .scheduler import check_scheduler
from .training_file import TrainingFile

__all__ = ["check_both", "check_dataset", "check_together"]

_LORA = "networks.lora"
_NOTHING_LEFT = ("leaves nothing to train on", "write a share such as 0.1")
_KINDS_OF_NETWORK = {
    "networks.dylora": "DyLoRA",
    "networks.lora_fa": "LoRA-FA",
    "networks.oft": "OFT",
    "networks.oft_v2": "OFT",
    "networks.boft": "BOFT",
    "networks.loha": "LoHa",
    "networks.lokr": "LoKr",
    "networks.lora_flux": "a LoRA for Flux",
    "networks.lora_sd3": "a LoRA for SD3",
    "networks.lora_lumina": "a LoRA for Lumina",
    "networks.lora_anima": "a LoRA for Anima",
}


def check_together(file: TrainingFile) -> list[Finding]:
    """Everything that is wrong with the options together, or to be told about them."""
    given = file.given
    return [
        *_network(given),
        *check_optimizer(given),
        *_rates(file),
        *check_scheduler(given),
        *_buckets(given),
        *_share(given),
        *_log(given),
        *_data(given),
        *_captions(given),
        *_noise(given),
        *_loss(given),
        *_previews(given),
        *_output(given),
    ]


def _network(given: Mapping[str, Given]) -> Iterator[Finding]:
    module = given.get("network_module")
    if module is not None and module.value == LYCORIS:
        yield from check_lycoris(given)
    elif module is not None and module.value != _LORA:
        what = _KINDS_OF_NETWORK.get(module.value)
        message = f"not a plain LoRA{f' but {what}' if what else ''}; clora folds {_LORA} only"
        yield module.finding("refuse", message)
    if "network_args" in given:
        yield from check_network_args(given)


def _rates(file: TrainingFile) -> Iterator[Finding]:
    given = file.given
    rates = {"learning_rate", "unet_lr"}
    if not any(one.key in rates or "learning_rate" in one.suggestion for one in file.findings):
        message = "gives no learning_rate; sd-scripts would train at 0.000002, which learns next to nothing"
        yield Finding(file.path, None, "learning_rate", "error", message, "write learning_rate = 1e-4")
    unet, text = given.get("unet_lr"), given.get("text_encoder_lr")
    no_unet = _asks_not_to(given, "network_train_text_encoder_only", unet)
    no_text = _asks_not_to(given, "network_train_unet_only", text)
    if no_unet is not None and no_text is not None:
        message = f"nothing is taught: {no_text.key.name} leaves the text encoders as they are"
        yield no_unet.finding("error", message, "leave one of the two out")
    if text is None:
        return
    first, *more = text.value
    if more:
        message = (
            f"of several rates sd-scripts takes the first, {first}, for both text encoders; so does clora"
        )
        yield text.finding("note", message)


def _asks_not_to(given: Mapping[str, Given], switch: str, rate: Given | None) -> Given | None:
    """What leaves a network as it is: a switch for the other one alone, or a rate of 0."""
    if _is_on(given, switch):
        return given[switch]
    return rate if rate is not None and rate.value in (0, [0], [0, 0]) else None


def _data(given: Mapping[str, Given]) -> Iterator[Finding]:
    folder, file = given.get("train_data_dir"), given.get("dataset_config")
    if folder is not None and file is not None:
        yield folder.finding("note", "not read: the dataset file says where the pictures are")
    others = given.get("reg_data_dir")
    if others is not None and file is not None:
        yield others.finding("note", "not read: the dataset file says where the pictures are")
    if others is not None and folder is None and file is None:
        yield others.finding("error", "stands without train_data_dir", "name the concept's pictures too")
    steps, epochs = given.get("max_train_steps"), given.get("max_train_epochs")
    if steps is not None and epochs is not None:
        yield steps.finding("note", f"not read: max_train_epochs = {epochs.value} counts more")


def check_dataset(file: DatasetFile) -> list[Finding]:
    """What a dataset file says as a whole."""
    found = [one for dataset in file.datasets for one in _dataset(file, dataset)]
    found += _shares(file)
    return list({(one.line, one.key): one for one in found}.values())


def check_both(training: TrainingFile | None, dataset: DatasetFile | None) -> list[Finding]:
    """What the one file says without what the other would have to say."""
    masked = training is not None and _is_on(training.given, "masked_loss")
    datasets = () if dataset is None else dataset.datasets
    found = [subset for one in datasets for subset in one.subsets]
    folders = [
        subset.given["conditioning_data_dir"] for subset in found if "conditioning_data_dir" in subset.given
    ]
    if training is not None and "conditioning_data_dir" in training.given:
        folders.append(training.given["conditioning_data_dir"])
    if masked:
        return []
    message, fix = "holds masks, for which the training file has to ask", "write masked_loss = true there"
    verdict: Verdict = "note" if training is None else "error"
    return list({one.line: one.finding(verdict, message, fix) for one in folders}.values())


def _dataset(file: DatasetFile, dataset: Dataset) -> Iterator[Finding]:
    yield from _buckets(dataset.given)
    counted = list(folders_of(dataset))
    for subset in dataset.subsets:
        yield from _captions(subset.given)
        yield from _attributes({**dataset.given, **subset.given})
        if subset not in counted:
            message = "not read: the dataset names this folder above, and sd-scripts takes the first"
            yield Finding(file.path, subset.line, _SUBSETS, "note", message)
    if counted and all(_is_on(subset.given, "is_reg") for subset in counted):
        message = "holds regularisation pictures alone"
        yield Finding(file.path, dataset.line, "[[datasets]]", "error", message, "add the concept's folder")


def _attributes(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Attributes of a folder, which sd-scripts does not check."""
    attributes = given.get("custom_attributes")
    if attributes is None:
        return
    for name, value in attributes.value.items():
        if name != PRESERVATION:
            message = f"{quoted(name)} changes nothing about a Stable Diffusion model"
            yield attributes.finding("note", message)
        elif not isinstance(value, bool):
            yield attributes.finding("error", f"{name} is neither true nor false")


def _share(given: Mapping[str, Given]) -> Iterator[Finding]:
    """All pictures held out."""
    share = given.get("validation_split")
    if share is not None and share.value >= 1:
        yield share.finding("error", *_NOTHING_LEFT)


def _shares(file: DatasetFile) -> Iterator[Finding]:
    """All folders held out whole; some may be, beside others that are trained on."""
    inherited = [
        {**dataset.given, **subset.given} for dataset in file.datasets for subset in folders_of(dataset)
    ]
    shares = [given.get("validation_split") for given in inherited if not _is_on(given, "is_reg")]
    whole = [share for share in shares if share is not None and share.value >= 1]
    if whole and len(whole) == len(shares):
        yield from (share.finding("error", *_NOTHING_LEFT) for share in whole)


def _log(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Numbers for TensorBoard in no folder, names at Weights & Biases without it."""
    program = given.get("log_with")
    if program is None or program.value == "tensorboard":
        for name in ("log_tracker_name", "wandb_run_name"):
            if name in given:
                yield given[name].finding("note", "changes nothing without log_with = wandb or all")
    if program is not None and program.value != "wandb" and "logging_dir" not in given:
        yield program.finding("error", "stands without logging_dir", "name a folder: logging_dir = 'logs'")


def _buckets(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Sizes of buckets where there are none."""
    if _is_on(given, "enable_bucket"):
        return
    for name in ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale"):
        if name in given:
            yield given[name].finding("note", "changes nothing without enable_bucket")


def _is_on(given: Mapping[str, Given], name: str) -> bool:
    return name in given and bool(given[name].value)


_SUBSETS = "[[datasets.subsets]]"


def _noise(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Kinds of noise that go with another."""
    if "adaptive_noise_scale" in given and "noise_offset" not in given:
        message = "sd-scripts stops where it stands without noise_offset"
        yield given["adaptive_noise_scale"].finding("error", message, "write noise_offset = 0.0357")
    for name, other in (
        ("noise_offset_random_strength", "noise_offset"),
        ("multires_noise_discount", "multires_noise_iterations"),
        ("ip_noise_gamma_random_strength", "ip_noise_gamma"),
    ):
        if name in given and other not in given:
            yield given[name].finding("note", f"changes nothing without {other}")


def _loss(given: Mapping[str, Given]) -> Iterator[Finding]:
    """What belongs to one loss, or one kind of model."""
    straight = "loss_type" in given and given["loss_type"].value in {"huber", "smooth_l1"}
    for name in ("huber_schedule", "huber_c", "huber_scale"):
        if name in given and not straight:
            yield given[name].finding("note", "changes nothing without loss_type huber or smooth_l1")
    is_v = _is_on(given, "v_parameterization")
    if is_v and "v_pred_like_loss" in given:
        message = "is for a model that predicts noise, and v_parameterization is on"
        yield given["v_pred_like_loss"].finding("error", message, "leave it out")
    if _is_on(given, "zero_terminal_snr") and not is_v:
        for name in ("min_snr_gamma", "debiased_estimation_loss", "v_pred_like_loss"):
            if name in given:
                message = "divides by the signal, of which zero_terminal_snr leaves none"
                yield given[name].finding("error", message, "leave one of the two out")


def _captions(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Tags that stay where nothing moves."""
    kept = given.get("keep_tokens")
    moving = [given[name].value for name in ("shuffle_caption", "caption_tag_dropout_rate") if name in given]
    if kept is not None and kept.value and not any(moving):
        yield kept.finding("note", "changes nothing without shuffle_caption")


def _previews(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Prompts that nothing asks to draw."""
    prompts = given.get("sample_prompts")
    asking = {"sample_every_n_steps", "sample_every_n_epochs", "sample_at_first"}
    if prompts is not None and not asking & given.keys():
        message = "nothing is drawn without sample_every_n_steps, sample_every_n_epochs or sample_at_first"
        yield prompts.finding("note", message)


def _output(given: Mapping[str, Given]) -> Iterator[Finding]:
    kind = given.get("save_model_as")
    if kind is not None and kind.value != "safetensors":
        message = f"{kind.value} is a pickle, which runs code when it is opened; clora writes safetensors"
        yield kind.finding("refuse", message, 'write save_model_as = "safetensors"')
    name = given.get("output_name")
    if name is not None and ({"/", "\\"} & set(name.value) or name.value in {".", ".."}):
        yield name.finding(
            "error", f"{quoted(name.value)} is no name of a file", "output_dir takes the folder"
        )
