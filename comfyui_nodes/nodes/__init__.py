"""The nodes: each translates its inputs, calls the engine, and translates what it gives."""
