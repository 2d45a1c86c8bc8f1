"""Changes of the engine, each a bug that others really shipped, and the tests that must notice it."""

from bugs_in_files import IN_FILES
from bugs_in_learning import IN_LEARNING
from planted_bug import Bug

BUGS: tuple[Bug, ...] = (*IN_LEARNING, *IN_FILES)
