"""Which part of an adapter learns how fast."""

from clora_ext.config.settings import Settings

__all__ = ["rate_factor"]


def rate_factor(component: str, part: str, settings: Settings) -> float:
    """The multiple of the learning rate at which a part of an adapter learns.

    Args:
        component: ``unet``, or a text encoder's name.
        part: ``down``, ``up`` or ``magnitude``; by LoRA+ (arXiv 2402.12354) ``up`` learns faster.
        settings: of the run.
    """
    algorithm, is_text = settings.algorithm, component.startswith("text_encoder")
    factor = 1.0
    if is_text and algorithm.text_encoder_lr is not None:
        factor = algorithm.text_encoder_lr / settings.optimizer.learning_rate
    if part != "up":
        return factor
    own = algorithm.loraplus_text_ratio if is_text else algorithm.loraplus_unet_ratio
    ratio = algorithm.loraplus_ratio if own is None else own
    return factor if ratio is None else factor * ratio
