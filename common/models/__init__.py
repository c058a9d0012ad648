"""Generators that a study can train: private modules, their losses, and their decoders."""
