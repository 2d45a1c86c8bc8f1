"""What is said of a model beside its weights, which do not tell: by a scheduler's configuration, a ``.yaml``.

Every source says it in words of its own; :mod:`clora_ext.formats.prediction` judges what they say of what the
model predicts, :mod:`clora_ext.families.variant` of which variant it is. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.errors import CheckpointError

from .text import one_line

if TYPE_CHECKING:
    from yaml import Node

__all__ = ["Statement", "scheduler_statement", "yaml_statement"]

_LARGEST = 1 << 14  # bytes of a .yaml; real ones have 2,000 to 6,000
_DEEPEST = 32  # brackets in brackets, of which the parser's time is the square
_LONGEST = 80
_TRUE = frozenset({"1", "true", "yes", "on"})
_EDM_SCHEDULERS = ("EDM", "CosineDPM", "KarrasVe")
_PARAMETERS = ("model", "params")
_DENOISER = (*_PARAMETERS, "denoiser_config", "params")
_SCALING = (*_DENOISER, "scaling_config", "target")
_DISCRETIZATION = (*_DENOISER, "discretization_config")
_SCALINGS = {"EpsScaling": "epsilon", "VScaling": "v", "EDMScaling": "edm", "VScalingWithEDMcNoise": "edm"}
_ZERO_SNR_KEYS = (
    "rescale_betas_zero_snr",
    "zero_terminal_snr",
    "enforce_zero_terminal_snr",
    "zero_snr",
    "zsnr",
    "ztsnr",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one source says of a model.

    Attributes:
        source: what people call it, such as ``scheduler_config.json``.
        word: what the network predicts, as the source spells it; None: it does not say.
        zero_snr: whether the noise schedule ends in pure noise; None: it does not say.
        variant: which of its family's variants the model is; None: it does not say.
        is_distilled: whether it says that the model was distilled to draw in few steps.
    """

    source: str
    word: str | None = None
    zero_snr: bool | None = None
    variant: str | None = None
    is_distilled: bool = False


def scheduler_statement(config: Mapping[str, Any], source: str) -> Statement:
    """What the configuration of one of diffusers' schedulers says.

    Their default is to predict the noise; but a scheduler of another process says so by its class.
    """
    return Statement(source, _scheduler_word(config), config.get("rescale_betas_zero_snr") is True)


def _scheduler_word(config: Mapping[str, Any]) -> str:
    kind = str(config.get("_class_name", ""))
    # Of the noise levels that are not counted in steps, as CosXL's, EDM (arXiv 2206.00364) is the only one.
    if kind.startswith(_EDM_SCHEDULERS) or config.get("timestep_type") == "continuous":
        return "edm"
    if kind.startswith("FlowMatch") or config.get("use_flow_sigmas") is True:
        return "flow_prediction"
    said = config.get("prediction_type")
    return "epsilon" if said is None else one_line(str(said), _LONGEST)


def yaml_statement(checkpoint: Path) -> Statement | None:
    """What a ``.yaml`` of the checkpoint's name says; None: there is none, or it says nothing of that.

    CompVis' ``ldm`` and Stability AI's ``sgm`` are configured by such files; Automatic1111 and Forge look for
    them there. Nothing is built from the file: a few scalars are looked up in what it is parsed to.

    Raises:
        CheckpointError: it is too large or no YAML.
    """
    file = checkpoint.with_suffix(".yaml")
    if not file.is_file():
        return None
    root = _parsed(file)
    found = Statement(file.name, _yaml_word(root), _yaml_zero_snr(root))
    return None if found.word is None and found.zero_snr is None else found


def _parsed(file: Path) -> "Node | None":
    """The file's nodes; aliases are shared and merge keys stay unmerged, so that it cannot grow."""
    import yaml

    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise _unreadable(file, f"has more than {_LARGEST} bytes")
        text = content.decode("utf-8-sig")
        if _nesting(text) > _DEEPEST:
            raise _unreadable(file, f"is nested more than {_DEEPEST} deep")
        root: Node | None = yaml.compose(text, Loader=yaml.BaseLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unreadable(file, f"cannot be read: {one_line(str(error), 2 * _LONGEST)}") from error
    return root


def _nesting(text: str) -> int:
    """How deep brackets stand in brackets, those in quoted text counted too."""
    steps = ((character in "[{") - (character in "]}") for character in text)
    return max(accumulate(steps), default=0)


def _unreadable(file: Path, what: str) -> CheckpointError:
    message = f"{file}, which should say what the model beside it predicts, {what}"
    return CheckpointError(message, fix="mend it, or move it away and say --prediction epsilon or v")


def _yaml_word(root: "Node | None") -> str | None:
    """``parameterization`` of ldm, else the scaling of sgm's denoiser."""
    said = _scalar(root, (*_PARAMETERS, "parameterization"))
    if said is not None:
        return said
    scaling = _scalar(root, _SCALING)
    if scaling is None:
        return None
    name = scaling.rpartition(".")[2]
    return _SCALINGS.get(name, name)


def _yaml_zero_snr(root: "Node | None") -> bool | None:
    for place in (_PARAMETERS, _DENOISER, (*_DISCRETIZATION, "params")):
        for key in _ZERO_SNR_KEYS:
            said = _scalar(root, (*place, key))
            if said is not None:
                return said.casefold() in _TRUE
    return None


def _scalar(node: "Node | None", path: tuple[str, ...]) -> str | None:
    """The text at a place, safe to show; None: there is no such place, or no text in it."""
    from yaml import MappingNode, ScalarNode

    for key in path:
        if not isinstance(node, MappingNode):
            return None
        # Of a key that stands twice the last one counts, as for everybody who reads such files.
        node = next((value for name, value in reversed(node.value) if name.value == key), None)
    return one_line(str(node.value), _LONGEST) if isinstance(node, ScalarNode) else None
