"""Words to text embeddings: prompt templates, the text tower, a cache."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from open_clip import CLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize

from sclip_seg_ros.common.forks import survive_fork
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.text.palette import Colour, palette_of
from sclip_seg_ros.segmentation.text.templates import DEFAULT_TEMPLATES, Template, resolve_templates
from sclip_seg_ros.segmentation.text.vocabulary import (
    Vocabulary,
    background_id,
    validate_classes,
    validate_negatives,
)
from sclip_seg_ros.segmentation.text.word_cache import WordCache

CACHE_SIZE = 4096  # words; 2 kB each at 512 dimensions

_log = logging.getLogger(__name__)


class TextEncoder:
    """Encode words with a CLIP text tower, remembering those it has seen.

    Each word goes through every prompt template; the embeddings are normalised, averaged and
    normalised again, as CLIP's zero-shot classifier does (Radford et al., 2021, section 3.1.4).
    Safe to call from several threads.
    """

    def __init__(self, clip: ClipModel) -> None:
        """Wrap a model."""
        self._clip = clip
        self._cache = WordCache(CACHE_SIZE)  # in main memory: a model may leave its device
        self._given_colours: OrderedDict[str, Colour] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, words: Sequence[str], templates: Sequence[str] | None = None) -> Tensor:
        """Return one embedding a word: (Q, D) float32, L2-normalised, on the model's device.

        Args:
            words: to encode.
            templates: sentences with ``{}`` for the word, or names of sets of them; None for
                CLIP's own.

        Raises:
            ValueError: a template that is none, or a word too long for the text tower's context.
        """
        names = DEFAULT_TEMPLATES if templates is None else tuple(templates)
        prompts = resolve_templates(names)
        rows = [self._cached(word, names, prompts) for word in words]
        return torch.stack(rows).to(self._device)

    def vocabulary(self, classes: Sequence[str], background: str = "", version: int = 1,
                   templates: Sequence[str] | None = None,
                   palette: Mapping[str, Colour] | None = None,
                   negatives: Sequence[str] = ()) -> Vocabulary:
        """Build a vocabulary; only words not seen before cost time.

        Args:
            classes: one string a class, synonyms separated by ``|``.
            background: name of the background class, empty for none.
            version: to be written into every output.
            templates: as for :meth:`encode`.
            palette: colours of some class names; the others have one of their own.
            negatives: words that compete with the classes and are never published: where one is
                the best, a pixel is the background's, or unlabelled without one.

        Raises:
            ValueError: see :func:`validate_classes`, :func:`validate_negatives` and
                :meth:`encode`.
        """
        parsed = validate_classes(classes, background)
        rejected = validate_negatives(negatives, parsed)
        number = background_id(parsed, background) if background else None
        words: list[str] = []
        owner: list[int] = []
        for index, entry in enumerate(parsed):
            words += [*entry.synonyms, *(rejected if index == number else ())]
            owner += [index] * (len(words) - len(owner))
        if number is None:
            words += rejected
            owner += [len(parsed)] * len(rejected)
        embeddings = self.encode(words, templates)
        unknown = self.unknown(words)
        if unknown:
            _log.warning("%s knows nothing of %s; such a phrase is looked for by its other words "
                         "alone, and labels of a class that has none mean nothing; use another "
                         "model for them, e.g. 'ViT-B/16'", self._clip.name,
                         ", ".join(self._what_is_unknown(word) for word in unknown))
        return Vocabulary(
            classes=parsed,
            background=number,
            version=version,
            embeddings=embeddings,
            query_class=torch.tensor(owner, device=embeddings.device),
            colours=self._colours([entry.name for entry in parsed], palette or {}),
            negatives=rejected,
            templates=DEFAULT_TEMPLATES if templates is None else tuple(templates),
        )

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Return the words with a part that the text tower never saw in training.

        Such a part has a zero embedding in the embedded model; other models have none such.
        """
        if self._learnt_tokens is None:
            return []
        return [word for word, tokens in zip(words, self._clip.tokenize(list(words)), strict=True)
                if not self._learnt_tokens[tokens[:int(tokens.argmax())]].all()]

    def _what_is_unknown(self, phrase: str) -> str:
        """Say which single words of a phrase the text tower never saw."""
        single = self.unknown(phrase.split())
        if not single or single == [phrase]:
            return f"'{phrase}'"
        return f"{' and '.join(repr(word) for word in dict.fromkeys(single))} in '{phrase}'"

    @cached_property
    def _learnt_tokens(self) -> Tensor | None:
        """Tell for each token whether it has an embedding; None without a plain token table."""
        table = getattr(self._clip.model, "token_embedding", None)
        return None if table is None else table.weight.any(dim=1).cpu()

    @property
    def _device(self) -> torch.device:
        return next(self._clip.model.parameters()).device

    def _colours(self, names: list[str], palette: Mapping[str, Colour]) -> np.ndarray:
        """Give each name its colour in the palette, or the one it had before if it had one."""
        with self._lock:
            colours = palette_of(names, palette, self._given_colours)
            self._given_colours.update(
                (name, tuple(colour)) for name, colour in zip(names, colours.tolist(), strict=True)
                if name not in palette)
            while len(self._given_colours) > CACHE_SIZE:
                self._given_colours.popitem(last=False)
        return colours

    def _cached(self, word: str, names: tuple[str, ...],
                prompts: Sequence[Template]) -> Tensor:
        embedding = self._cache.get((word, names))
        if embedding is None:
            embedding = self._encode(word, prompts).cpu()
            self._cache.put((word, names), embedding)
        return embedding

    @torch.inference_mode()
    def _encode(self, word: str, templates: Sequence[Template]) -> Tensor:
        survive_fork()
        tokens = self._tokens(word, templates)
        embeddings = encode_prompts(self._clip.model, tokens.to(self._device))
        return normalize(normalize(embeddings.float(), dim=-1).mean(0), dim=-1)

    def _tokens(self, word: str, templates: Sequence[Template]) -> Tensor:
        """Tokenize a word in every template, refusing one that would be cut without notice."""
        prompts = [template(word) for template in templates]
        tokens = self._clip.tokenize(prompts)
        limit = tokens.shape[1]
        # Most pad with 0, with which no text ends; some put it in the place of a text's last token.
        full = (tokens[:, -2:] != 0).any(1)
        longest = [prompt for prompt, last in zip(prompts, full.tolist(), strict=True) if last]
        # With room for one token more, a prompt that had been cut shows another one at its end.
        if longest and not torch.equal(self._clip.tokenize(longest, limit + 1)[:, :limit],
                                       tokens[full]):
            raise ValueError(f"class '{word[:40]}' with its prompt does not fit into the {limit} "
                             "tokens that the text tower reads; use fewer words")
        return tokens


def encode_prompts(model: nn.Module, tokens: Tensor) -> Tensor:
    """Run the text tower without the padding behind the longest prompt.

    A token sees only those before it, so that leaving the padding out changes nothing; prompts of
    a dozen tokens in a context of 77 take an eighth of the time.

    Args:
        model: open_clip model.
        tokens: (N, context length) int64.

    Returns:
        (N, D), not normalised; equal to ``model.encode_text(tokens)``.
    """
    tower = model if type(model) is CLIP else getattr(model, "text", None)
    if not isinstance(tower, (CLIP, TextTransformer)) or not _is_causal(tower):
        return model.encode_text(tokens)
    end = tokens.argmax(dim=-1)  # the end-of-text token has the largest id
    tokens = tokens[:, :int(end.max()) + 1]
    length, dtype = tokens.shape[1], tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    return tower.ln_final(x[torch.arange(len(x), device=x.device), end]) @ tower.text_projection


def _is_causal(tower: CLIP | TextTransformer) -> bool:
    """Tell whether a tower's tokens see only those before them, and the last one is read."""
    pooling = tower.text_pool_type if isinstance(tower, CLIP) else tower.pool_type
    return tower.attn_mask is not None and pooling == "argmax" \
        and isinstance(tower.text_projection, nn.Parameter) \
        and getattr(tower, "cls_emb", None) is None
