"""Numbers for Weights & Biases: they leave the machine, because the user names a project there."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from clora_ext.errors import CloraError, UsageError

from .plan import Plan
from .scalar_writer import Scalars, ScalarWriter

if TYPE_CHECKING:
    from wandb import Settings

__all__ = ["check_wandb_log", "wandb_log"]

_MODES_WITHOUT_LOGIN = {"offline", "dryrun", "disabled"}
_PROJECT = re.compile(r"[^/\\#?%:]{1,128}")  # what Weights & Biases takes
_OTHER_MODE = "WANDB_MODE=offline keeps the numbers on this machine"


def check_wandb_log(project: str) -> None:
    """Make sure that numbers can be sent, before anything is trained; nothing is sent.

    Raises:
        UsageError: it is not installed, nobody is logged in, or the project's name is none.
    """
    if find_spec("wandb") is None:
        raise UsageError(
            "numbers for Weights & Biases cannot be written without it", fix='pip install "clora[wandb]"'
        )
    if not _PROJECT.fullmatch(project):
        raise UsageError(
            f"{project!r} is no name of a project at Weights & Biases",
            fix="use up to 128 characters without / \\ # ? % :",
        )
    import wandb

    if wandb.setup().settings.mode in _MODES_WITHOUT_LOGIN:
        return
    if not wandb.login(prompt=False, verify=False):
        raise UsageError("nobody is logged in to Weights & Biases", fix=f"run wandb login; {_OTHER_MODE}")


@contextmanager
def wandb_log(plan: Plan, project: str, name: str | None) -> Iterator[ScalarWriter]:
    """What sends numbers of a step; a run that was stopped goes on as the same one.

    Beside them only the settings are sent: no text that is printed, no code, nothing about the machine.

    Args:
        plan: of the run.
        project: at Weights & Biases.
        name: of the run there; None: that of its folder for TensorBoard.

    Raises:
        CloraError: Weights & Biases does not take the run.
    """
    import wandb

    try:
        run = wandb.init(
            project=project,
            name=name or plan.log_name,
            id=plan.log_name,
            resume="allow",
            config=_told(plan),
            settings=_silent(),
        )
    except wandb.Error as error:
        raise CloraError(f"Weights & Biases does not take the run: {error}", fix=_OTHER_MODE) from error

    def write(values: Scalars, step: int) -> None:
        run.log(dict(values), step=step)

    whole = False
    try:
        yield write
        whole = True
    finally:
        run.finish(exit_code=0 if whole else 1)


def _silent() -> "Settings":
    """Settings with which it collects nothing of its own."""
    from wandb import Settings

    return Settings(
        console="off",
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        silent=True,
        x_disable_stats=True,
        x_disable_meta=True,
    )


def _told(plan: Plan) -> dict[str, Any]:
    """What the run is, without paths."""
    return {"concept": plan.concept.trigger, "model": plan.context.family.title, **plan.settings.as_dict()}
