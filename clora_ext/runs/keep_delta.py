"""Keep a concept's change beside the model, where the user asks for it."""

from typing import TYPE_CHECKING

from clora_ext.project import State

from .layer_rank import layer_rank
from .learning_tables import learning_tables
from .lora_material import LoraMaterial
from .plan import Plan
from .prepared import PreparedRun

if TYPE_CHECKING:
    from clora_ext.evolving.trained_concept import TrainedConcept

__all__ = ["keep_delta", "kept_bytes"]

_MOST_PIECES = 8  # of a rare word, as the tokenizer spells it
_HEADER = 1 << 20  # bytes, at the most


def keep_delta(run: PreparedRun, concept: "TrainedConcept", state: State) -> str | None:
    """Write what ``concept`` has changed, and give the file's name; None: nobody has asked for it.

    Nothing refers to the file before the commit.

    Raises:
        StorageError: the disk is full or refuses.
    """
    from clora_ext.evolving.kept_delta import write_delta

    if not run.plan.request.keep_delta:
        return None
    file = run.project.deltas_dir / "new.safetensors"
    write_delta(file, concept)
    return run.project.adopt_delta(state.content_hash, file)


def kept_bytes(plan: Plan) -> int:
    """Bytes of the file that :func:`keep_delta` will write, at the most; 0: none."""
    from clora_ext.evolving.kept_delta import delta_bytes

    if not plan.request.keep_delta:
        return 0
    if isinstance(plan.material, LoraMaterial):
        tensors = delta_bytes(plan.material.changes)
    else:
        dense = plan.settings.network.dora
        ranks = {target: None if dense else layer_rank(target, plan.settings).rank for target in plan.targets}
        tensors = delta_bytes(ranks) + _token_rows(plan)
    return tensors + _HEADER


def _token_rows(plan: Plan) -> int:
    """Of the rows of the trigger's own tokens."""
    return sum(4 * _MOST_PIECES * table.shape[1] for table in learning_tables(plan))
