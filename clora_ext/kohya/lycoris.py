"""DoRA over a plain LoRA, as training files ask LyCORIS for it; everything else of LyCORIS is refused."""

from collections.abc import Iterator, Mapping

from clora_ext.config.settings import Settings
from clora_ext.formats.text import quoted

from .finding import Finding
from .judge import Given

__all__ = ["LYCORIS", "PLAIN_DORA", "asks_for_dora", "check_lycoris", "is_plain_dora"]

LYCORIS = "lycoris.kohya"
"""LyCORIS' network_module."""

PLAIN_DORA = {"algo": "lora", "preset": "attn-mlp", "dora_wd": "True"}
"""What makes it a DoRA of the layers that sd-scripts' plain LoRA teaches."""

_BUILT = frozenset(
    "algo preset dora_wd wd_on_output rs_lora module_dropout "
    "loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio".split()
)
_PAIRS = frozenset({"lora", "locon"})  # two names of one algorithm
_UNUSED = frozenset({"conv_dim", "conv_alpha"})  # of layers that the preset leaves out
_NOTHING = frozenset({"", "none", "false", "0", "0.0"})
_FLAGS = {"dora_wd": "true", "wd_on_output": "true", "rs_lora": ""}
"""What each has to be; empty: either."""

_Given = Mapping[str, Given]


def asks_for_dora(given: _Given) -> bool:
    """Whether it is LyCORIS that is asked for, and a DoRA of it, whether or not it is a plain one."""
    module, arguments = given.get("network_module"), given.get("network_args")
    if module is None or module.value != LYCORIS or arguments is None:
        return False
    values = arguments.value
    return values.get("algo", "lora").lower() in _PAIRS and values.get("dora_wd", "").lower() == "true"


def check_lycoris(given: _Given) -> Iterator[Finding]:
    """What of it is not a plain DoRA."""
    if not asks_for_dora(given):
        built = ", ".join(f"{name}={value}" for name, value in PLAIN_DORA.items())
        message = "not a plain LoRA but LyCORIS, of which clora trains a DoRA alone"
        yield given["network_module"].finding("refuse", message, f"as network_args: {built}")
        return
    arguments = given["network_args"]
    if arguments.value.get("preset", "full") != PLAIN_DORA["preset"]:
        message = "without preset=attn-mlp LyCORIS teaches layers that clora does not"
        yield arguments.finding("refuse", message, "preset=attn-mlp is the layers of sd-scripts' own LoRA")
    for name, value in arguments.value.items():
        yield from _argument(arguments, name, value)
    if "network_dropout" in given:
        message = "LyCORIS does not read it beside dora_wd, and clora would leave numbers out"
        yield given["network_dropout"].finding("error", message, "leave it out")


def _argument(arguments: Given, name: str, value: str) -> Iterator[Finding]:
    """What is to be told about one argument."""
    if name in _FLAGS and value.lower() not in {"true", "false"}:
        message = f"{name} = {quoted(value)}: LyCORIS takes all but False for true"
        yield arguments.finding("error", message, f"write {name}=True or {name}=False")
    elif name in _FLAGS and _FLAGS[name] and value.lower() != _FLAGS[name]:
        yield arguments.finding("refuse", f"not built: {name}={value}", "clora's magnitudes are of outputs")
    elif name in _UNUSED:
        yield arguments.finding("note", f"{name} changes nothing with preset=attn-mlp")
    elif name not in _BUILT and value.lower() not in _NOTHING:
        fix = f"{', '.join(sorted(_BUILT))} are built"
        yield arguments.finding("refuse", f"not built with dora_wd: {quoted(name)}", fix)


def is_plain_dora(settings: Settings) -> bool:
    """Whether LyCORIS can be told of a training with magnitudes."""
    network = settings.network
    others = (network.conv_rank, network.network_dropout, network.rank_dropout, network.scale_weight_norms)
    return network.dora and not any(others)
