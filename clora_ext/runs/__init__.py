"""Teach the evolving model: one more concept from pictures, or from a LoRA that somebody else has trained."""
