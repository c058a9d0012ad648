"""Vocabulary that both sides share. Nothing here knows private data."""
