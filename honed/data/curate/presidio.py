"""Names of people and whatever else Presidio knows, beside our own patterns: needs the extra ``presidio``.

Microsoft's Presidio reads with a spaCy model. Where the two overlap, our own patterns hold: they check checksums.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from honed.config import Config
from honed.data.curate.personal.patterns import Span, spans
from honed.errors import ConfigError


class Presidio(Config):
    """Settings of Presidio in the step ``pii``."""

    model: str = Field(default="en_core_web_sm", description="spaCy model that it reads with: a package or a folder")
    language: str = Field(default="en", description="language of the texts, as Presidio names it")
    entities: tuple[str, ...] = Field(
        default=("PERSON",),
        min_length=1,
        description="what Presidio is asked for, by its names: PERSON, LOCATION, NRP, MEDICAL_LICENSE ...",
    )
    score: float = Field(default=0.5, ge=0, le=1, description="least score of a find")


@dataclass(frozen=True)
class Both:
    """Our own patterns and Presidio; travels to other processes, and loads the model there."""

    settings: Presidio
    kinds: Collection[str]

    def __call__(self, text: str) -> list[Span]:
        """Return what stands in ``text``, in its order; nothing overlaps."""
        found = spans(text, self.kinds)
        asked = [entity for entity in self.settings.entities if entity.lower() in self.kinds]
        theirs = (
            analyzer(self.settings.model, self.settings.language).analyze(
                text=text, language=self.settings.language, entities=asked, score_threshold=self.settings.score
            )
            if asked and text.strip()
            else ()
        )
        for one in sorted(theirs, key=lambda one: (-one.score, one.start - one.end, one.start)):
            span = Span(one.start, one.end, one.entity_type.lower())
            if not any(span.overlaps(other) for other in found):
                found.append(span)
        return sorted(found)


@lru_cache(1)
def analyzer(model: str, language: str) -> Any:
    """Return Presidio's analyzer. Raises ``ConfigError`` if it, or the spaCy model, isn't here: nothing is fetched."""
    try:
        import spacy
        import tldextract.tldextract as suffixes
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as error:
        message = "pii.engine: Presidio isn't installed here"
        raise ConfigError(message, "Install it: pip install 'honed[presidio]'; or use pii.engine: patterns.") from error
    if not spacy.util.is_package(model) and not Path(model).exists():
        message = f"pii.presidio.model: spaCy has no model {model!r} here"
        raise ConfigError(message, f"Fetch it: python -m spacy download {model}; or name a folder that holds one.")
    suffixes.TLD_EXTRACTOR = suffixes.TLDExtract(suffix_list_urls=())  # else an e-mail address makes it fetch a list
    named = {"nlp_engine_name": "spacy", "models": [{"lang_code": language, "model_name": model}]}
    engine = NlpEngineProvider(nlp_configuration=named).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
