"""From a request to a plan: reads and checks everything once, writes nothing."""

from math import isfinite

from clora_ext import strategies
from clora_ext.config.processes import check_single_process, own_place
from clora_ext.config.settings import Settings
from clora_ext.errors import UsageError
from clora_ext.project import Project

from .asked_settings import asked_settings, with_scorer
from .checked_settings import checked_settings
from .context import project_context
from .estimate import check_disk
from .plan import Plan
from .plan_basis import PlanBasis
from .plan_lora import plan_lora
from .plan_pictures import plan_pictures
from .plan_reweighting import plan_reweighting
from .reading import with_readable_prompts
from .request import Lora, Pictures, Request, Reweight
from .scoring import check_scoring, scoring_problems

__all__ = ["make_plan", "plan_within"]


def make_plan(request: Request) -> Plan:
    """Read and check everything that ``request`` needs, the model's header too; write nothing.

    A plan that is given can be carried out, unless the disk, the memory or a broken weight is in the way.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    plan = plan_within(Project.find(request.project), request)
    plan.context.check_loading()
    return plan


def plan_within(project: Project | None, request: Request) -> Plan:
    """The plan for a project that is open (None: one that does not exist yet)."""
    processes = _processes(request)
    asked = checked_settings(request.settings or Settings(), _problems(request))
    _check_keep_delta(request, asked)
    context = project_context(project, request.base, request.statements, request.companions)
    if request.settings is None:
        asked = asked_settings(context.suggested, given=with_scorer(request.scorer, {}))
    settings = with_readable_prompts(asked, context)
    strategy = strategies.load(settings.strategy, settings.strategy_options)
    basis = PlanBasis(request, project, context, settings, strategy, processes)
    check_scoring(basis)
    plan = _plan(basis)
    check_disk(plan)
    return plan


def _processes(request: Request) -> int:
    """How many share the run.

    Raises:
        UsageError: several would, which only a training can.
    """
    if isinstance(request.source, Pictures):
        return own_place().size
    check_single_process()
    return 1


def _plan(basis: PlanBasis) -> Plan:
    """By what the request is about."""
    source = basis.request.source
    if isinstance(source, Reweight):
        return plan_reweighting(basis, source)
    return plan_lora(basis, source) if isinstance(source, Lora) else plan_pictures(basis, source)


def _check_keep_delta(request: Request, settings: Settings) -> None:
    """Refuse to keep what could not be taken out of the model again.

    Raises:
        UsageError: what the strategy folds is not the change itself.
    """
    if request.keep_delta and not strategies.adds(settings.strategy):
        adding = ", ".join(name for name in strategies.names() if strategies.adds(name))
        message = (
            f"--keep-delta: {settings.strategy} does not simply add a concept's change to the model; "
            "kept, it could not be taken out again"
        )
        raise UsageError(message, fix=f"choose a --strategy that does ({adding}), or leave --keep-delta out")


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
    if isinstance(request.source, Reweight) and not isfinite(request.source.weight):
        problems.append(f"a weight must be a finite number, it is {request.source.weight}")
    if isinstance(request.source, Reweight) and request.keep_delta:
        problems.append("keep_delta is about a concept that is learned; one that is weighed anew stays kept")
    return problems
