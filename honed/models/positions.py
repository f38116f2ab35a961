"""Whether the position embeddings of a row are other ones when a longer row is in the same pass."""

from __future__ import annotations

from typing import Any


def apart_beyond(config: Any) -> int | None:
    """Return beyond how many tokens a row changes the positions of others in its pass; None: no row does.

    For longrope transformers takes one of two sets of frequencies for all of a pass, by its farthest position (Ding et
    al. 2024, "LongRoPE"; ``modeling_rope_utils``). It changes dynamic ones by that too, but only beyond the model's
    context, where no row of ours goes. What differs by layers lies one deeper, by their kinds.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [one for one in rope.values() if isinstance(one, dict)] or [rope]
    ends = [int(one["original_max_position_embeddings"]) for one in kinds if one.get("rope_type") == "longrope"]
    return min((end for end in ends if end < text.max_position_embeddings), default=None)
