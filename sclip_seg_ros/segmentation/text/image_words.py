"""RF-CLIP's text side: words moved towards an image, and scored by the image as a whole.

RF-CLIP (AAAI 2026), in the form of its published code. Words that are much alike form a cluster; in
each cluster the word nearest to the whole image moves a little towards the two patches that fit it
best; a share of every score is the unmoved word's likeness to the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.common.settings import Settings, number

NEAREST = 2   # patches that a word moves towards


@dataclass(frozen=True)
class ImageWordsSettings(Settings):
    """RF-CLIP's text side (AAAI 2026); its authors tune the three for each data set."""

    image_share: float = number(0.1, 0.0, 1.0, "Share of the word's likeness to the whole image "
                                "in its score.")
    patch_share: float = number(0.03, 0.0, 1.0, "Share of the best patches in a word that moves.")
    distance: float = number(0.1, 0.0, 2.0, "Cosine distance within which words form a cluster, "
                             "of which one moves.")


def word_clusters(words: Tensor, distance: float) -> Tensor:
    """Cluster words by complete linkage: all of a cluster lie within a cosine distance.

    Args:
        words: (Q, D) of length 1.
        distance: 1 - cosine; the nearest two clusters become one while none is further away.

    Returns:
        (Q,) int64 numbers from 0, on the words' device.
    """
    found = words.float().cpu().numpy()
    apart = 1.0 - found @ found.T
    np.fill_diagonal(apart, np.inf)
    owner = np.arange(len(found))
    for _ in range(len(found) - 1):
        kept, gone = sorted(divmod(int(apart.argmin()), len(found)))
        if apart[kept, gone] > distance:
            break
        apart[kept] = apart[:, kept] = np.maximum(apart[kept], apart[gone])
        apart[gone] = apart[:, gone] = np.inf
        apart[kept, kept] = np.inf
        owner[owner == gone] = kept
    return torch.from_numpy(np.unique(owner, return_inverse=True)[1].reshape(-1)).to(words.device)


def moved_words(words: Tensor, clusters: Tensor, features: Tensor, image: Tensor,
                share: float) -> Tensor:
    """Move the word of each cluster that is nearest to the image.

    Args:
        words: (Q, D) of length 1.
        clusters: (Q,) of :func:`word_clusters`.
        features: (N, D, h, w) of windows, of length 1 along D.
        image: (N, D) embedding of the whole image of each window, of length 1.
        share: of the patches in a moved word.

    Returns:
        (N, Q, D) of length 1.
    """
    words = words.float()
    near = image @ words.T                                                   # N, Q
    outside = clusters != torch.arange(int(clusters.max()) + 1, device=words.device)[:, None]
    chosen = near[:, None].masked_fill(outside, -torch.inf).argmax(-1)       # N, K
    places = features.flatten(2)                                             # N, D, P
    former = words[chosen]                                                   # N, K, D
    best = (former @ places).topk(min(NEAREST, places.shape[2]), dim=-1).indices
    patches = places.transpose(1, 2)[torch.arange(len(places), device=words.device)[:, None, None],
                                     best].mean(2)
    moved = normalize((1.0 - share) * former + share * normalize(patches, dim=-1), dim=-1)
    everyone = words.expand(len(places), *words.shape).clone()
    return everyone.scatter_(1, chosen[..., None].expand_as(moved), moved)


def with_image(scores: Tensor, words: Tensor, image: Tensor, share: float) -> Tensor:
    """Mix scores (N, Q, h, w) with the words' likeness to the whole image (N, D)."""
    return (1.0 - share) * scores + share * (image @ words.float().T)[..., None, None]
