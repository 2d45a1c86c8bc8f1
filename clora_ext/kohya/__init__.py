"""The configuration files of sd-scripts (kohya): read, checked, and told what clora does with each key.

Needs no torch. Facts about sd-scripts are of its version 0.11.1; ``docs/kohya.md`` is made from the table in
``keys.json``.
"""
