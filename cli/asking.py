"""Asking before something is lost: people at a terminal, never programs."""

import sys

import typer

from clora_ext.errors import Cancelled

from .output import Output
from .wording import printable

__all__ = ["ask", "somebody_can_answer"]


def somebody_can_answer(output: Output) -> bool:
    """Whether a person sits at a terminal; programs and scripts are never asked."""
    return not output.as_json and sys.stdin.isatty() and sys.stderr.isatty()


def ask(output: Output, what: str, question: str, refused: str) -> None:
    """Say what will be lost and ask.

    Args:
        output: of the call.
        what: will be lost.
        question: to answer with yes or no.
        refused: what is said if the answer is not yes.

    Raises:
        Cancelled: the answer is not yes.
    """
    output.meanwhile.print(printable(what), highlight=False)
    if not typer.confirm(question, err=True):
        raise Cancelled(refused, fix="the project is as it was")
