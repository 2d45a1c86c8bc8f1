"""Teach adapters on a frozen model; peft is used only here."""
