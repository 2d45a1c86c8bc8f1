"""Everything that one training is made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from clora_ext.adapters.factors import Factors
from clora_ext.config.precision import Precision
from clora_ext.config.settings import Settings
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example, Objective

from .adapters import Adapters
from .convergence import Convergence
from .rates import rate_factor
from .token_rows import TokenRows
from .validation import Validation

if TYPE_CHECKING:
    from .joint_passes import JointPasses
    from .team import Team

__all__ = ["Training"]


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that one training is made of.

    Attributes:
        model: loaded with the frozen weights; the adapters are inside.
        adapters: what is trained.
        token_rows: what is trained beside them in the tables of tokens; None: nothing.
        row_rate: the rows' learning rate, as a multiple of the adapters'.
        ema_decay: of the average of the steps that is learned; None: the last step is.
        objective: what is minimised.
        examples: the pictures.
        batch_at: what a batch (from 0) shows of them, of one size.
        prepare: makes what a batch (from 0) is first to show: what is done once is no part of a step's time.
        settings: steps, rate, seed, ...
        precision: where the model lies.
        state_file: where a stopped run leaves its state; it is read if it belongs to ``fingerprint``.
        fingerprint: identifies the plan, so that another plan's state is never resumed.
        concept: token and class, for whoever finds the state.
        validation: asked now and then; None: nothing is held out.
        convergence: ends it before its last step; None: nothing does.
        team: the processes that train it together; None: this one alone.
        joint: their passes beside the steps; None: the model's weights are not shared out.
    """

    model: Model
    adapters: Adapters
    token_rows: TokenRows | None
    row_rate: float
    ema_decay: float | None
    objective: Objective
    examples: Sequence[Example]
    batch_at: Callable[[int], Sequence[Example]]
    prepare: Callable[[int], None]
    settings: Settings
    precision: Precision
    state_file: Path
    fingerprint: str
    concept: str = ""
    validation: Validation | None = None
    convergence: Convergence | None = None
    team: "Team | None" = None
    joint: "JointPasses | None" = None

    @property
    def processes(self) -> int:
        """How many train it."""
        return 1 if self.team is None else self.team.place.size

    @property
    def leads(self) -> bool:
        """Whether this process saves, validates and draws: it is alone, or the first one."""
        return self.team is None or self.team.place.leads

    def in_step(self) -> AbstractContextManager[None]:
        """See :meth:`clora_ext.training.team.Team.in_step`, where weights are shared out."""
        return nullcontext() if self.team is None or self.joint is None else self.team.in_step()

    def led(self) -> AbstractContextManager[None]:
        """While it is entered, the first process may ask the model for anything beside the steps.

        Where weights are shared out the others have to :meth:`follow` meanwhile.
        """
        return nullcontext() if self.joint is None else self.joint.led()

    def follow(self) -> None:
        """Compute along what the first process asks while it is in :meth:`led`, where it needs that."""
        if self.joint is not None:
            self.joint.follow()

    def part(self) -> None:
        """Say farewell to the other processes: the model is asked for nothing more."""
        if self.team is not None:
            self.team.part()

    @property
    def components(self) -> Sequence[nn.Module]:
        """The networks in which anything is trained."""
        rows = [] if self.token_rows is None else self.token_rows.components
        return list(dict.fromkeys([*self.adapters.components, *rows]))

    @contextmanager
    def as_begun(self, started: Mapping[str, Factors]) -> Iterator[None]:
        """While it is entered, the model computes what it computed before the training.

        Args:
            started: factors of the adapters that did not begin as nothing, by :attr:`Target.name`.
        """
        rows = {} if self.token_rows is None else self.token_rows.parameters
        learned = {row: row.data for row in rows.values()}
        for row in learned:
            row.data = torch.zeros_like(row.data)
        try:
            with self.adapters.as_begun(started):
                yield
        finally:
            for row, data in learned.items():
                row.data = data

    @property
    def parameter_groups(self) -> Sequence[tuple[Mapping[str, nn.Parameter], float]]:
        """Everything that is trained, by name, with the multiple of the learning rate that it learns at."""
        rows = [] if self.token_rows is None else [(self.token_rows.parameters, self.row_rate)]
        parts = [
            (group, rate_factor(component, part, self.settings))
            for (component, part), group in self.adapters.groups.items()
        ]
        if all(factor == 1 for _, factor in parts):
            kinds = (self.adapters.pairs, self.adapters.magnitudes)
            return [*((group, 1.0) for group in kinds if group), *rows]
        return [*parts, *rows]
