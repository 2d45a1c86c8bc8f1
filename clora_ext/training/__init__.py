"""Teach adapters on a frozen model; accelerate and peft are used only here."""
