"""A study that takes seconds: two concepts, two orders and two strategies, on a tiny model."""

STUDY = """
title = "A tiny study"
base = "tiny.safetensors"

[settings]
steps = 3
rank = 2
batch_size = 2
warmup_steps = 1
targets = "attention"

[evaluation]
noises = 2
steps = 2
drift_prompts = ["a tiger"]

[grid]
orders = [["dog", "robot"], ["robot", "dog"]]

[[concepts]]
name = "dog"
drawn = "dog"
token = "sks"
class_name = "dog"

[[concepts]]
name = "robot"
drawn = "robot"
token = "sbu"
class_name = "robot toy"

[[strategies]]
name = "merge"

[[strategies]]
name = "mask"

[[forecasts]]
figure = "plasticity"
strategy = "merge"
above = -100.0
"""


def children(parent: int) -> list[int]:
    """Workers: the processes that import clora."""
    import psutil

    found = psutil.Process(parent).children()
    return [one.pid for one in found if "spawn_main" in " ".join(one.cmdline())]
