"""Draws digits and other short texts, as candidates for which a study's records vote."""
