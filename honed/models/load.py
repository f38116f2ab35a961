"""From the word that a user types to a model in memory: where its files are, whether they are whole, and loading."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.errors import ModelError, StoreError, first_line
from honed.models import cache, embedded, gguf, hub, named, quantised
from honed.models.chat import ChatFormat, from_tokenizer
from honed.models.quiet import quiet
from honed.store import aliases, artifacts
from honed.store.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NO_LIMIT = 2**20
"""Context of a model without position embeddings to run out of."""

_MISTRAL = ("mistral", "ministral", "mixtral", "pixtral", "voxtral")
_TEKKEN = 2**17
"""How many tokens Tekken has at least; the tokenizers of Mistral's models before it have 32,768."""


@dataclass(frozen=True)
class Located:
    """A model's files. ``hash`` is the content hash of its source, ``source`` says where it came from."""

    ref: str
    folder: Path
    hash: str
    source: str
    trained_with: str | None = None
    """Hash of the chat format that it was trained with, where its manifest says so."""

    @property
    def findable(self) -> str:
        """What other tools load it by: the hub id of a model from there, of any other its folder, as a whole path."""
        return self.source.removeprefix("hub ") if self.source.startswith("hub ") else str(self.folder.resolve())

    @property
    def weights_hash(self) -> str:
        """A hash that a file beside the weights doesn't change, where anybody may add one; else ``hash``."""
        open_to_all = self.source == "folder" or self.source.startswith("hub ")
        return cache.folder_hash(self.folder, ("*.safetensors",)) if open_to_all else self.hash


@dataclass(frozen=True)
class Prepared:
    """What is known of a model before its weights are in memory; ``context`` counts tokens."""

    place: Located
    chat: ChatFormat
    config: PretrainedConfig
    context: int


@dataclass
class LoadedModel:
    """A model in memory, in eval mode, with the chat format that belongs to it. ``context`` counts tokens."""

    model: PreTrainedModel
    chat: ChatFormat
    ref: str
    hash: str
    context: int
    text_part: bool = False
    """Whether it is the part of its files' model that reads text: transformers leaves the towers of some out."""


def _silent(_: str) -> None:
    """Say nothing."""


def locate(spec: str, workspace: Workspace | None, *, say: Callable[[str], None] = _silent) -> Located:
    """Return where the files of ``spec`` are on this machine, fetching and de-quantizing them if need be.

    ``spec`` is, in this order: a model of the workspace (``name``, ``name@vN`` or an alias such as ``live``),
    ``smollm2-135m``, a folder, a ``.gguf`` file, or a hub id ``org/name``. ``say`` is told of anything that takes a
    while. Raises ``ModelError`` if it is none of them, or its files are missing, damaged or pickles.
    """
    if (artifact := _artifact(spec, workspace)) is not None:
        trained_with = artifact.manifest.facts.get("template_hash")
        return Located(artifact.ref, _checked(artifact.path), artifact.manifest.hash, "workspace", trained_with)
    if spec == embedded.NAME:
        folder, sha256, source = embedded.fetch(say)
        return Located(spec, _checked(folder), sha256, source)
    path = Path(spec).expanduser()
    if path.is_dir():
        folder = _checked(path.resolve())
        return Located(str(folder), folder, cache.folder_hash(folder), "folder")
    if path.suffix == ".gguf":
        folder, sha256 = gguf.dequantized(path.resolve(), say)
        return Located(str(path.resolve()), folder, sha256, "gguf")
    if hub.is_id(spec):
        fetched = hub.fetch(spec, say)
        if not any(fetched.glob("*.safetensors")):  # no pickle is fetched, which might be all that there is
            raise ModelError(
                f"{spec}: the repository has no .safetensors file, and honed reads no pickles",
                "Convert it where you trust it (transformers: from_pretrained, save_pretrained), and name that folder.",
            )
        folder = _checked(fetched)
        return Located(spec, folder, cache.folder_hash(folder), f"hub {spec}")
    raise _unknown(spec, workspace)


def pinned(workspace: Workspace, spec: str) -> str:
    """Return an alias or a name as a model's version, and a path as one that means the same from any folder.

    What a job keeps: it may be resumed when the alias has moved, or from another folder.
    """
    spec = aliases.resolve(workspace, spec)
    if spec.partition("@")[0] in _names(workspace):
        return artifacts.resolve(workspace, "models", spec).ref
    path = Path(spec).expanduser()
    return str(path.resolve()) if spec != embedded.NAME and path.exists() else spec


def load(
    spec: str,
    workspace: Workspace | None,
    *,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
    attention: str | None = None,
    template: str | None = None,
) -> LoadedModel:
    """Return the model of ``spec`` (see ``locate``) in ``dtype`` (float32 by default) on ``device``, in eval mode.

    ``template`` names a shipped chat template to use instead of the model's own; without ``attention`` transformers
    chooses it. Only safetensors are read, memory-mapped, and no code that comes with a model is ever run. Raises
    ``ModelError`` if a weight is missing or damaged, the architecture is unknown, or the model was trained with another
    chat format.
    """
    return weights(prepare(spec, workspace, template), dtype=dtype, device=device, attention=attention)


def prepare(spec: str, workspace: Workspace | None, template: str | None = None) -> Prepared:
    """Return what is known of the model of ``spec`` without reading its weights. Raises as ``load`` does."""
    place = locate(spec, workspace)
    chat = chat_in(place.folder, template)
    _check_template(place, chat, template)
    config = _config(place.folder)
    return Prepared(place, chat, config, context_of(config, chat))


def weights(
    prepared: Prepared, *, dtype: torch.dtype | None = None, device: str = "cpu", attention: str | None = None
) -> LoadedModel:
    """Return a prepared model with its weights in memory (see ``load``)."""
    import torch
    from transformers import AutoModelForCausalLM

    place, dtype = prepared.place, dtype or torch.float32
    with _translated(place.folder), quiet():
        model, report = AutoModelForCausalLM.from_pretrained(
            place.folder,
            config=prepared.config,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{place.folder}: {len(missing)} weights are missing, the first is {missing[0]}",
            "Copy or fetch the model again; with a weight made up it would answer nonsense.",
        )
    if lost := quantised.lost(model, report["unexpected_keys"]):
        raise ModelError(
            f"{place.folder}: {len(lost)} tensors have no place in its layers, the first is {lost[0]}",
            "They are quantised in a way that config.json doesn't say (name the unquantised model), or that file is "
            "another model's.",
        )
    quantised.forget(model, prepared.config, dtype)
    text_part = type(model.config) is not type(prepared.config)
    return LoadedModel(model.to(device).eval(), prepared.chat, place.ref, place.hash, prepared.context, text_part)


def outline(spec: str, workspace: Workspace | None) -> PreTrainedModel:
    """Return the model of ``spec`` (see ``locate``) on the meta device: its weights have shapes, and none is read.

    They have the type that the model's settings state, in which its files usually hold them. Raises ``ModelError`` if
    files are missing, or the architecture is unknown.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = locate(spec, workspace).folder
    config = _config(folder)
    with _translated(folder), quiet(), torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return model


def _config(folder: Path) -> PretrainedConfig:
    """Return the settings of a model, by which quantised weights become plain ones. Raises as ``load`` does."""
    from transformers import AutoConfig

    with _translated(folder), quiet():
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.is_encoder_decoder:  # transformers would give the decoder alone, of which half the weights are left
        raise ModelError(
            f"{folder}: {config.model_type} is an encoder and a decoder, which honed can't run",
            "Name a causal language model, which is a decoder alone, such as Llama, Qwen or SmolLM2.",
        )
    quantised.ask_for_plain(folder, config)
    return config


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Say in words what transformers and safetensors raise."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(f"{folder}: damaged weights: {error}", "Copy or fetch the model again.") from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        if any(words in str(error) for words in ("out of memory", "can't allocate memory")):  # not the model's fault
            raise
        raise ModelError(
            f"{folder}: can't be loaded: {first_line(error)}",
            "honed runs causal language models that transformers knows, from safetensors.",
        ) from error


def load_chat(spec: str, workspace: Workspace | None, *, say: Callable[[str], None] = _silent) -> ChatFormat:
    """Return the chat format of ``spec`` (see ``locate``) without its weights, which needn't be there for a hub id."""
    path = Path(spec).expanduser()
    local = path.exists() or path.suffix == ".gguf"
    if hub.is_id(spec) and not local and _artifact(spec, workspace) is None:
        return chat_in(hub.fetch(spec, say, weights=False))
    return chat_in(locate(spec, workspace, say=say).folder)


def context_of(config: Any, chat: ChatFormat) -> int:
    """Return how many tokens the model can attend to: its positions, else what its tokenizer states."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    stated = chat.tokenizer.model_max_length
    return int(positions or min(stated, _NO_LIMIT))


def _check_template(place: Located, chat: ChatFormat, template: str | None) -> None:
    """Refuse a model that was trained with another chat format: its answers would not be those it learnt to give."""
    if place.trained_with in (None, chat.hash):
        return
    with_which = f"the template {template!r}" if template else "the template or tokenizer in its folder"
    raise ModelError(
        f"{place.ref} was trained with another chat format ({place.trained_with}) than {with_which} has ({chat.hash})",
        "Leave the setting 'template' out." if template else "Its files were changed: train it again, or restore them.",
    )


def _artifact(spec: str, workspace: Workspace | None) -> artifacts.Artifact | None:
    if workspace is not None:
        spec = aliases.resolve(workspace, spec)
    name, at, _ = spec.partition("@")
    if workspace is None or name not in _names(workspace):
        if at and "/" not in spec:
            raise _unknown(spec, workspace)
        return None
    try:
        return artifacts.resolve(workspace, "models", spec)
    except StoreError as error:
        raise ModelError(error.message, error.hint) from error


def _names(workspace: Workspace) -> list[str]:
    return sorted({artifact.manifest.name for artifact in artifacts.listing(workspace, "models")})


def _unknown(spec: str, workspace: Workspace | None) -> ModelError:
    names = [*(_names(workspace) if workspace else []), embedded.NAME]
    near = difflib.get_close_matches(spec.partition("@")[0], names, n=1)
    where = f" in {workspace.path}" if workspace else " (there is no workspace here)"
    if "@" in spec and hub.is_id(spec.partition("@")[0]):
        return ModelError(
            f"{spec!r}: of a model on the hub no revision can be named here",
            "Fetch it (hf download ORG/NAME --revision REVISION --local-dir FOLDER), and name the folder.",
        )
    return ModelError(
        f"there is no model {spec!r}{where}, and no such folder or file",
        f"Did you mean {near[0]!r}?" if near else f"Models: {', '.join(names)}; or a folder, a .gguf file, org/name.",
    )


def _checked(folder: Path) -> Path:
    """Return ``folder`` if it holds a model that honed may load, else say what is missing."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(f"{folder}: an adapter, not a model", "Merge it into its base model first.")
        raise ModelError(f"{folder}: not a model: it has no config.json", "Name a folder in the Hugging Face format.")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"{folder}: {pickles[0]} is refused: a pickle can run code when it is opened",
                "Convert it to safetensors, or fetch a safetensors version of the model.",
            )
        raise ModelError(f"{folder}: no weights: there is no .safetensors file", "Copy or fetch the model again.")
    named.check(folder)
    return folder


def chat_in(folder: Path, template: str | None = None) -> ChatFormat:
    """Return the chat format of a model's folder, with a shipped ``template`` in place of its own if one is named."""
    tokenizer = _tokenizer(folder)
    if isinstance(tokenizer.chat_template, dict):  # several named ones: tool use, retrieval, and the plain one
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    try:
        return from_tokenizer(tokenizer, template=template, stop_ids=_stop_ids(folder))
    except ModelError as error:
        raise ModelError(f"{folder}: {error.message}", error.hint) from error


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in cache.TOKENIZERS):
        raise ModelError(
            f"{folder}: the tokenizer is missing: there is no tokenizer.json",
            "Copy the tokenizer's files (tokenizer.json, tokenizer_config.json) from the base model into the folder.",
        )
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **_of_tekken(folder)
            )
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise ModelError(
            f"{folder}: the tokenizer can't be read: {first_line(error)}", "Copy the tokenizer's files again."
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(f"{folder}: the tokenizer has no fast version", "Provide its tokenizer.json.")
    return tokenizer


def _of_tekken(folder: Path) -> dict[str, bool]:
    """Return what transformers must be told of Tekken, the tokenizer of Mistral's models since Nemo; of others nothing.

    Where transformers 4 wrote config.json, tokenizer.json splits text otherwise than the model has learned. That is
    mended only if asked for, in whatever tokenizer it is; and being asked, transformers leaves tekken.json alone, which
    it reads otherwise, if mistral-common is there, in a class that has neither templates nor is_fast.
    """
    path = folder / "tokenizer.json"
    kind = str(json.loads((folder / "config.json").read_text()).get("model_type"))
    if not kind.startswith(_MISTRAL) or not path.is_file():
        return {}
    stated = json.loads(path.read_text())
    marks = {token["content"]: token["id"] for token in stated["added_tokens"]}
    size = len(stated["model"]["vocab"]) + len(marks)
    return {"fix_mistral_regex": True} if marks.get("[INST]") == 3 and size >= _TEKKEN else {}


def _stop_ids(folder: Path) -> set[int]:
    """The end-of-text ids that the model's own files state: one or several."""
    stops: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            stated = json.loads(path.read_text()).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise ModelError(f"{path}: not JSON: {error}", "Copy or fetch the model again.") from error
        stops.update([stated] if isinstance(stated, int) else stated or [])
    return stops
