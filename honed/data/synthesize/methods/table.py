"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from honed.data.synthesize.config import Method as Name
from honed.data.synthesize.config import SynthesizeConfig
from honed.data.synthesize.methods.constrain import Constrain
from honed.data.synthesize.methods.converse import Converse
from honed.data.synthesize.methods.documents import Documents
from honed.data.synthesize.methods.invent import Invent
from honed.data.synthesize.methods.method import Method
from honed.data.synthesize.methods.reword import Reword

METHODS: Mapping[Name, Callable[[SynthesizeConfig, Sequence[Any], str], Method]] = {
    "self-instruct": Invent,
    "evolve": Invent,
    "paraphrase": Reword,
    "continue": Converse,
    "constrain": Constrain,
    "documents": Documents,
}
"""Each is made of the settings, the rows (or passages) to start from, and the writer's name."""
