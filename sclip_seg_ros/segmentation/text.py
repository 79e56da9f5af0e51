"""Words to text embeddings: prompt templates, the text tower, a cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.palette import palette_of
from sclip_seg_ros.segmentation.vocabulary import Vocabulary, background_id, validate_classes

CACHE_SIZE = 4096  # words; 2 kB each at 512 dimensions
_BATCH = 640       # prompts in one forward of the text tower


class TextEncoder:
    """Encode words with a CLIP text tower, remembering those it has seen.

    Each word goes through every prompt template; the embeddings are normalised, averaged and
    normalised again, as CLIP's zero-shot classifier does (Radford et al., 2021, section 3.1.4).
    Safe to call from several threads.
    """

    def __init__(self, clip: ClipModel, templates: Sequence = OPENAI_IMAGENET_TEMPLATES) -> None:
        """Wrap a model; ``templates`` are functions or format strings from word to prompt."""
        self._clip = clip
        self._templates = tuple(t if callable(t) else t.format for t in templates)
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, words: Sequence[str]) -> Tensor:
        """Return one embedding a word: (Q, D) float32, L2-normalised, on the model's device.

        Raises:
            ValueError: a word too long for the text tower's context.
        """
        return torch.stack([self._cached(word) for word in words])

    def vocabulary(self, classes: Sequence[str], background: str = "",
                   version: int = 1) -> Vocabulary:
        """Build a vocabulary; only words not seen before cost time.

        Raises:
            ValueError: see :func:`validate_classes` and :meth:`encode`.
        """
        parsed = validate_classes(classes, background)
        embeddings = self.encode([word for entry in parsed for word in entry.synonyms])
        owner = [index for index, entry in enumerate(parsed) for _ in entry.synonyms]
        return Vocabulary(
            classes=parsed,
            background=background_id(parsed, background) if background else None,
            version=version,
            embeddings=embeddings,
            query_class=torch.tensor(owner, device=embeddings.device),
            colours=palette_of([entry.name for entry in parsed]),
        )

    def is_cached(self, word: str) -> bool:
        """Tell whether a word costs no time."""
        with self._lock:
            return word in self._cache

    def _cached(self, word: str) -> Tensor:
        with self._lock:
            if word in self._cache:
                self._cache.move_to_end(word)
                return self._cache[word]
        embedding = self._encode(word)
        with self._lock:
            self._cache[word] = embedding
            while len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return embedding

    @torch.inference_mode()
    def _encode(self, word: str) -> Tensor:
        prompts = [template(word) for template in self._templates]
        tokens = self._clip.tokenize(prompts)
        self._refuse_truncation(word, prompts, tokens)
        device = next(self._clip.model.parameters()).device
        parts = [self._clip.model.encode_text(chunk.to(device)) for chunk in tokens.split(_BATCH)]
        embeddings = normalize(torch.cat(parts).float(), dim=-1)
        return normalize(embeddings.mean(0), dim=-1)

    def _refuse_truncation(self, word: str, prompts: Sequence[str], tokens: Tensor) -> None:
        """Refuse a word that the tokenizer would cut without a word."""
        encode = getattr(self._clip.tokenize, "encode", None)
        if encode is None:
            return
        longest = max(len(encode(prompt)) for prompt in prompts) + 2
        if longest > tokens.shape[1]:
            raise ValueError(f"class '{word[:40]}' needs {longest} tokens with its prompt, the "
                             f"text tower reads {tokens.shape[1]}; use fewer words")
