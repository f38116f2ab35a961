"""The version of honed, alone in its file so that every layer may read it."""

__version__ = "0.1.0"
