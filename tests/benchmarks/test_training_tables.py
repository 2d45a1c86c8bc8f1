"""What is told of trainings that were measured: each beside its neighbour, and shares of a long run."""

import training
from training import Measured

ROWS = {
    "clora, attention": [
        Measured(1.0, 3.0, 60.0, 400),
        Measured(2.0, 3.0, 80.0, 300),
        Measured(4.0, 5.0, 90.0, 300),
    ],
    "diffusers, attention": [
        Measured(2.0, 4.0, 9.0, 1),
        Measured(2.0, 4.0, 9.0, 1),
        Measured(6.0, 4.0, 9.0, 1),
    ],
}


def test_peers_stand_beside_the_run_before_them() -> None:
    rows = training.table(ROWS)
    assert rows[2] == "| clora, attention | 2.000 s | 1.00 | 3.0 s | 80.0 s |"
    assert rows[3] == "| diffusers, attention | 2.000 s | 1.50 | 4.0 s | 9.0 s |"  # of 2, 1 and 1.5


def test_what_is_beside_the_steps_is_told_of_a_long_run() -> None:
    (line,) = training.outside({"clora, attention": ROWS["clora, attention"][:1]}, steps=10, size=200)
    assert line.startswith("clora, attention: 50.0 s beside the steps, 9.1 % of a run of 500; 2.00 times")
