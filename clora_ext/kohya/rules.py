"""What options of a training file ask for together, and values that the table cannot judge."""

from collections.abc import Iterator, Mapping

from clora_ext.formats.text import quoted

from .dataset_file import Dataset, DatasetFile
from .finding import Finding, Verdict
from .from_dataset import folders_of
from .judge import Given
from .training_file import TrainingFile

__all__ = ["check_both", "check_dataset", "check_together"]

_LORA = "networks.lora"
_KINDS_OF_NETWORK = {
    "lycoris.kohya": "LyCORIS",
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
_OPTIMIZERS = frozenset(
    "adamw8bit pagedadamw8bit pagedadamw pagedadamw32bit lion lion8bit pagedlion8bit sgdnesterov "
    "sgdnesterov8bit adafactor prodigy came dadaptation dadaptadam dadaptadagrad dadaptadan dadaptadanip "
    "dadaptlion dadaptsgd radamschedulefree adamwschedulefree sgdschedulefree prodigyplusschedulefree".split()
)
"""Of sd-scripts and of the files that people have, in lower case."""


def check_together(file: TrainingFile) -> list[Finding]:
    """Everything that is wrong with the options together, or to be told about them."""
    given = file.given
    return [
        *_network(given),
        *_optimizer(given),
        *_rates(file),
        *_schedule(given),
        *_size(given),
        *_buckets(given),
        *_share(given),
        *_log(given),
        *_data(given),
        *_captions(given),
        *_output(given),
    ]


def _network(given: Mapping[str, Given]) -> Iterator[Finding]:
    module = given.get("network_module")
    if module is None or module.value == _LORA:
        return
    what = _KINDS_OF_NETWORK.get(module.value)
    message = f"not a plain LoRA{f' but {what}' if what else ''}; clora folds {_LORA} only"
    yield _finding(module, "refuse", message)


def _optimizer(given: Mapping[str, Given]) -> Iterator[Finding]:
    chosen = given.get("optimizer_type")
    name = "adamw" if chosen is None else chosen.value.casefold()
    if chosen is not None and name != "adamw":
        shown = quoted(chosen.value)
        message = f"{shown} is no optimiser of sd-scripts, and clora imports nothing that a file names"
        if name.rsplit(".", 1)[-1] in _OPTIMIZERS:
            message = f"not built yet: {shown}"
        yield _finding(chosen, "refuse", message, "AdamW is built")
        return
    arguments = given.get("optimizer_args")
    if arguments is None:
        return
    for argument in arguments.value:
        if argument != "weight_decay":
            yield _finding(arguments, "refuse", f"not built yet: {quoted(argument)}", "weight_decay is built")


def _rates(file: TrainingFile) -> Iterator[Finding]:
    given = file.given
    rates = {"learning_rate", "unet_lr"}
    if not any(one.key in rates or "learning_rate" in one.suggestion for one in file.findings):
        message = "gives no learning_rate; sd-scripts would train at 0.000002, which learns next to nothing"
        yield Finding(file.path, None, "learning_rate", "error", message, "write learning_rate = 1e-4")
    unet, text = given.get("unet_lr"), given.get("text_encoder_lr")
    if unet is not None and unet.value == 0:
        yield _finding(unet, "refuse", "not built yet: a rate of 0, which leaves the UNet as it is")
    if text is None:
        return
    first, *more = text.value
    if more:
        message = (
            f"of several rates sd-scripts takes the first, {first}, for both text encoders; so does clora"
        )
        yield _finding(text, "note", message)
    only_unet = given.get("network_train_unet_only")
    rate = unet if unet is not None else given.get("learning_rate")
    teaches = only_unet is None or not only_unet.value
    if first and teaches and rate is not None and first != rate.value:
        message = f"not built yet: {first} for the text encoders beside {rate.value} for the UNet"
        yield _finding(text, "refuse", message, "write 0, or the same rate")


def _schedule(given: Mapping[str, Given]) -> Iterator[Finding]:
    schedule, warm_up = given.get("lr_scheduler"), given.get("lr_warmup_steps")
    name = "constant" if schedule is None else schedule.value
    if schedule is not None and name not in {"constant", "constant_with_warmup"}:
        yield _finding(schedule, "refuse", f"not built yet: {name}", "constant_with_warmup is built")
    elif warm_up is not None and name == "constant":
        message = "sd-scripts stops at a warm-up with the schedule constant, once everything is loaded"
        yield _finding(warm_up, "error", message, 'write lr_scheduler = "constant_with_warmup"')
    if warm_up is not None and isinstance(warm_up.value, float) and "max_train_epochs" in given:
        message = "not built yet: a share of epochs"
        yield _finding(warm_up, "refuse", message, "write a number of steps, or max_train_steps")
    norm = given.get("max_grad_norm")
    if norm is not None and norm.value == 0:
        yield _finding(norm, "refuse", "not built yet: gradients that are not clipped")


def _size(given: Mapping[str, Given]) -> Iterator[Finding]:
    size = given.get("resolution")
    if size is not None and size.value[0] != size.value[1]:
        width, height = size.value
        message = f"not built yet: sides that differ, {width} and {height}"
        yield _finding(
            size, "refuse", message, "write one side; pictures keep their proportions by their bucket"
        )


def _data(given: Mapping[str, Given]) -> Iterator[Finding]:
    folder, file = given.get("train_data_dir"), given.get("dataset_config")
    if folder is not None and file is not None:
        yield _finding(folder, "note", "not read: the dataset file says where the pictures are")
    others = given.get("reg_data_dir")
    if others is not None and file is not None:
        yield _finding(others, "note", "not read: the dataset file says where the pictures are")
    if others is not None and folder is None and file is None:
        yield _finding(others, "error", "stands without train_data_dir", "name the concept's pictures too")
    steps, epochs = given.get("max_train_steps"), given.get("max_train_epochs")
    if steps is not None and epochs is not None:
        yield _finding(steps, "note", f"not read: max_train_epochs = {epochs.value} counts more")


def check_dataset(file: DatasetFile) -> list[Finding]:
    """What a dataset file says as a whole."""
    found = [one for dataset in file.datasets for one in _dataset(file, dataset)]
    found += _held_out(file)
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
    return list({one.line: _finding(one, verdict, message, fix) for one in folders}.values())


def _dataset(file: DatasetFile, dataset: Dataset) -> Iterator[Finding]:
    yield from _size(dataset.given)
    yield from _buckets(dataset.given)
    counted = list(folders_of(dataset))
    for subset in dataset.subsets:
        yield from _captions(subset.given)
        yield from _share(subset.given)
        if subset not in counted:
            message = "not read: the dataset names this folder above, and sd-scripts takes the first"
            yield Finding(file.path, subset.line, _SUBSETS, "note", message)
    if counted and all(_is_on(subset.given, "is_reg") for subset in counted):
        message = "holds regularisation pictures alone"
        yield Finding(file.path, dataset.line, "[[datasets]]", "error", message, "add the concept's folder")


def _share(given: Mapping[str, Given]) -> Iterator[Finding]:
    """All pictures held out."""
    share = given.get("validation_split")
    if share is not None and share.value >= 1:
        yield _finding(share, "error", "leaves nothing to train on", "write a share such as 0.1")


def _log(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Numbers for other programs than TensorBoard, or for no folder."""
    program = given.get("log_with")
    if program is None:
        return
    if program.value != "tensorboard":
        yield _finding(program, "refuse", "not built yet: Weights & Biases", 'write log_with = "tensorboard"')
    elif "logging_dir" not in given:
        yield _finding(program, "error", "stands without logging_dir", "name a folder: logging_dir = 'logs'")


def _held_out(file: DatasetFile) -> Iterator[Finding]:
    """Folders of which different shares are held out."""
    folders = [one.given for dataset in file.datasets for one in folders_of(dataset)]
    for name in ("validation_split", "validation_seed"):
        taught = [given for given in folders if not _is_on(given, "is_reg")]
        values = [given[name].value if name in given else None for given in taught]
        if len(set(values)) > 1:
            other = next(given[name] for given in taught if name in given)
            yield _finding(other, "refuse", "not built yet: one for some folders and another for others")


def _buckets(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Sizes of buckets where there are none."""
    if _is_on(given, "enable_bucket"):
        return
    for name in ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale"):
        if name in given:
            yield _finding(given[name], "note", "changes nothing without enable_bucket")


def _is_on(given: Mapping[str, Given], name: str) -> bool:
    return name in given and bool(given[name].value)


_SUBSETS = "[[datasets.subsets]]"


def _captions(given: Mapping[str, Given]) -> Iterator[Finding]:
    """Tags that stay where nothing moves."""
    kept = given.get("keep_tokens")
    moving = [given[name].value for name in ("shuffle_caption", "caption_tag_dropout_rate") if name in given]
    if kept is not None and kept.value and not any(moving):
        yield _finding(kept, "note", "changes nothing without shuffle_caption")


def _output(given: Mapping[str, Given]) -> Iterator[Finding]:
    kind = given.get("save_model_as")
    if kind is not None and kind.value != "safetensors":
        message = f"{kind.value} is a pickle, which runs code when it is opened; clora writes safetensors"
        yield _finding(kind, "refuse", message, 'write save_model_as = "safetensors"')
    name = given.get("output_name")
    if name is not None and ({"/", "\\"} & set(name.value) or name.value in {".", ".."}):
        yield _finding(
            name, "error", f"{quoted(name.value)} is no name of a file", "output_dir takes the folder"
        )


def _finding(given: Given, verdict: Verdict, message: str, suggestion: str = "") -> Finding:
    return Finding(given.path, given.line, given.key.name, verdict, message, suggestion, given.written)
