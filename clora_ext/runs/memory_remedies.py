"""What takes less memory than a plan does, for a run that has run out of it."""

from .plan import Plan

__all__ = ["sampling_remedies", "training_remedies"]

_STEP = 64  # sizes that people use are multiples of it


def training_remedies(plan: Plan) -> list[str]:
    """Options that are left to try, the cheapest first."""
    from clora_ext.config.precision import pick_precision

    settings, found = plan.settings, []
    if not settings.compute.recomputes:
        found.append("--gradient-checkpointing")
    if plan.own_batch_size > 1:
        found.append(f"--batch-size {plan.own_batch_size // 2}")
    if not settings.compute.fp8_base:
        found.append("--fp8-base")
    if not settings.compute.shard:
        if plan.processes > 1:
            found.append("--shard")
        if not settings.compute.offload_base and pick_precision().device.type == "cuda":
            found.append("--offload-base")
    found += sampling_remedies(plan)
    if settings.teaches_text:
        found.append("leaving out --text-encoder")
    return found


def sampling_remedies(plan: Plan) -> list[str]:
    """What makes encoding and drawing smaller."""
    multiple = plan.context.size_multiple
    smaller = plan.resolution * 3 // 4
    smaller -= smaller % (_STEP if smaller >= _STEP else multiple)
    return [f"--resolution {smaller}"] if smaller >= multiple else []
