"""Version of this fedloom; major and minor join every plan."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
