"""honed: the whole instruction fine-tuning loop in one tool."""

__version__ = "0.1.0"
