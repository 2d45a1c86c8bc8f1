"""Adapters: their factors, the linear algebra of changes, extraction, and the layers where they sit."""
