"""Read the next images in threads while the current one is segmented."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from sclip_seg_ros.tools.benchmark.datasets import Dataset, Sample

AHEAD = 2  # images read ahead by each thread; bounds the memory


def load_ahead(dataset: Dataset, indices: Sequence[int], workers: int) -> Iterator[Sample]:
    """Yield the samples of a data set in the order of the indices."""
    pending = iter(indices)
    with ThreadPoolExecutor(workers) as pool:
        queue = deque(pool.submit(dataset.load, index)
                      for index in islice(pending, AHEAD * workers))
        try:
            while queue:
                sample = queue.popleft().result()
                queue.extend(pool.submit(dataset.load, index) for index in islice(pending, 1))
                yield sample
        finally:
            for future in queue:
                future.cancel()
