"""Embeddings of the words used last, in one table that stays where it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import torch
from torch import Tensor


class WordCache:
    """Remember a vector by key; of more than there is room for, those used last.

    All live in one table of main memory, whose pages are taken as they are used. A tensor each,
    made amid the large ones of its computation, would stay between them and keep the allocator
    from using their place again: with glibc 2.36, 40 kB were lost with every 2 kB kept.
    Safe to use from several threads.
    """

    def __init__(self, capacity: int) -> None:
        """Start empty, with room for ``capacity`` vectors."""
        self._capacity = capacity
        self._rows: OrderedDict[Hashable, int] = OrderedDict()  # by key, in order of use
        self._table: Tensor | None = None  # (capacity, D)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of vectors remembered."""
        return len(self._rows)

    def get(self, key: Hashable) -> Tensor | None:
        """Return a copy of a vector (D,), or None if it is not remembered."""
        with self._lock:
            if self._table is None or key not in self._rows:
                return None
            self._rows.move_to_end(key)
            return self._table[self._rows[key]].clone()

    @torch.inference_mode(False)  # or a table made within it could not be written to outside
    def put(self, key: Hashable, vector: Tensor) -> None:
        """Remember a vector (D,), of the same length and type as all before."""
        with self._lock:
            if self._table is None:
                self._table = torch.empty(self._capacity, *vector.shape, dtype=vector.dtype)
            row = self._rows.pop(key, None)
            if row is None:
                full = len(self._rows) == self._capacity
                row = self._rows.popitem(last=False)[1] if full else len(self._rows)
            self._table[row] = vector
            self._rows[key] = row
