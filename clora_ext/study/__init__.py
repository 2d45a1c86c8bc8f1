"""Studies: concepts, orders, seeds and strategies as a grid of jobs that can be stopped and resumed."""
