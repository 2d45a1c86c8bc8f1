"""How strong a site's adapter is: alpha by the file, by its configuration, or by the rule."""

from dataclasses import dataclass

from clora_ext.errors import CheckpointError
from clora_ext.formats.text import quoted

from .parts import DAMAGED, Parts
from .strength import Configs, checked_alpha

__all__ = ["AlphaRule"]

_NUMBERS = {
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
}  # diffusers' converter writes integers


@dataclass
class AlphaRule:
    """Finds alpha, and counts where it came from.

    Attributes:
        configs: PEFT's, in the file's metadata or beside it.
        without_alpha: how many sites said none.
        zero_alpha: how many said 0.
    """

    configs: Configs
    without_alpha: int = 0
    zero_alpha: int = 0

    def alpha(self, parts: Parts, rank: int) -> float:
        """alpha of an adapter whose scale is alpha / rank.

        One that is missing or 0 means the rank: sd-scripts' and LyCORIS' rule.

        Raises:
            CheckpointError: it is no usable number.
        """
        name = parts.names.get("alpha")
        if name is None:
            configured = self.configs.alpha(parts.site, rank)
            if configured is not None:
                return configured
            self.without_alpha += 1
            return float(rank)
        where = f"{parts.file.path}: tensor {quoted(name)}"
        info = parts.file.info(name)
        if info.elements != 1 or info.dtype not in _NUMBERS:
            message = f"{where} is {info.dtype} of shape {list(info.shape)}, alpha is one number"
            raise CheckpointError(message, fix=DAMAGED)
        alpha = checked_alpha(parts.file.read(name).item(), where)
        if alpha == 0:
            self.zero_alpha += 1
            return float(rank)
        return alpha
