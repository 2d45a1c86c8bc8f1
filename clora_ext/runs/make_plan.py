"""From a request to a plan: reads and checks everything once, writes nothing."""

from math import isfinite

from clora_ext import strategies
from clora_ext.config.processes import check_single_process
from clora_ext.config.settings import Settings
from clora_ext.project import Project

from .checked_settings import checked_settings
from .context import project_context
from .estimate import check_disk
from .plan import Plan
from .plan_basis import PlanBasis
from .plan_lora import plan_lora
from .plan_pictures import plan_pictures
from .request import Lora, Request
from .scoring import check_scoring, scoring_problems

__all__ = ["make_plan", "plan_within"]


def make_plan(request: Request) -> Plan:
    """Read and check everything that ``request`` needs, the model's header too; write nothing.

    A plan that is given can be carried out, unless the disk, the memory or a broken weight is in the way.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    check_single_process()
    plan = plan_within(Project.find(request.project), request)
    plan.context.check_loading()
    return plan


def plan_within(project: Project | None, request: Request) -> Plan:
    """The plan for a project that is open (None: one that does not exist yet)."""
    asked = checked_settings(request.settings or Settings(), _problems(request))
    context = project_context(project, request.base, request.statements)
    settings = context.suggested if request.settings is None else asked
    strategy = strategies.load(settings.strategy, settings.strategy_options)
    basis = PlanBasis(request, project, context, settings, strategy)
    check_scoring(basis)
    source = request.source
    plan = plan_lora(basis, source) if isinstance(source, Lora) else plan_pictures(basis, source)
    check_disk(plan)
    return plan


def _problems(request: Request) -> list[str]:
    """What is wrong about the call itself."""
    problems = list(scoring_problems(request))
    if request.keep < 0:
        problems.append(f"keep must not be negative, it is {request.keep}: 0 keeps no earlier model")
    if isinstance(request.source, Lora) and not (isfinite(request.source.weight) and request.source.weight):
        problems.append(
            f"a weight of {request.source.weight:g} changes nothing that could be meant; "
            "choose a number such as 0.8"
        )
    return problems
