"""What is said where torch.compile cannot compile."""

from collections.abc import Iterator
from contextlib import contextmanager

from clora_ext.errors import TrainingError

__all__ = ["reporting_no_compiler"]

_FIX = "leave --torch-compile out, or install a C++ compiler, and Triton for a GPU"


@contextmanager
def reporting_no_compiler() -> Iterator[None]:
    """Turn a failure of torch.compile into an error that says so.

    Raises:
        TrainingError: with the compiler's own first line.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = next(iter(f"{error}".strip().splitlines()), type(error).__name__)
        message = f"torch.compile cannot compile the model here: {reason}"
        raise TrainingError(message, fix=_FIX) from error
