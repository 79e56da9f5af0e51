"""The cache of word embeddings: those used last are kept, unchanged, and cost only their size."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from sclip_seg_ros.segmentation.text.word_cache import WordCache

# As a text tower does: large tensors come and go, and of each word a small one stays. A dict of
# tensors in the cache's place takes 11 MB for 150 words with glibc 2.36.
KEEP_MANY_WORDS = """
import os, threading
import torch
from sclip_seg_ros.segmentation.text.word_cache import WordCache
from benchmarks.soak.process_sampler import ProcessSampler

torch.set_num_threads(1)
cache = WordCache(4096)
sampler = ProcessSampler(os.getpid(), interval=0.0)
layers = torch.nn.Sequential(torch.nn.LayerNorm(256), torch.nn.Linear(256, 1024), torch.nn.GELU(),
                             torch.nn.Linear(1024, 256))

@torch.inference_mode()
def work():
    for index in range(190):
        tokens = torch.randn(7, 12 + index % 3, 256)
        for _ in range(4):
            tokens = tokens + layers(tokens)
        cache.put(index, torch.cat([tokens[:, 0].mean(0)] * 2))
        if index in (39, 189):
            sampler.wait_and_sample()

thread = threading.Thread(target=work)
thread.start()
thread.join()
first, last = sampler.samples
print(last.allocated_mb - first.allocated_mb)
"""


def vector(value: float) -> torch.Tensor:
    return torch.full((3,), float(value))


def test_a_word_not_met_before_is_not_known():
    cache = WordCache(2)
    assert cache.get("dog") is None
    cache.put("dog", vector(1))
    assert cache.get("cat") is None
    assert torch.equal(cache.get("dog"), vector(1))


def test_the_word_unused_for_longest_makes_room():
    cache = WordCache(2)
    cache.put("dog", vector(1))
    cache.put("cat", vector(2))
    cache.get("dog")
    cache.put("bird", vector(3))
    assert cache.get("cat") is None
    assert torch.equal(cache.get("dog"), vector(1)) and torch.equal(cache.get("bird"), vector(3))
    assert len(cache) == 2


def test_a_word_put_twice_takes_one_place():
    cache = WordCache(2)
    for value in (1, 2):
        cache.put("dog", vector(value))
    cache.put("cat", vector(3))
    assert torch.equal(cache.get("dog"), vector(2)) and torch.equal(cache.get("cat"), vector(3))


def test_what_was_handed_out_outlives_its_place():
    cache = WordCache(1)
    cache.put("dog", vector(1))
    dog = cache.get("dog")
    cache.put("cat", vector(2))
    assert torch.equal(dog, vector(1))
    dog.zero_()
    assert torch.equal(cache.get("cat"), vector(2))


def test_a_vector_of_inference_mode_can_be_kept():
    cache = WordCache(1)
    with torch.inference_mode():
        cache.put("dog", vector(1))
        assert torch.equal(cache.get("dog"), vector(1))
    cache.put("cat", vector(2))
    assert torch.equal(cache.get("cat"), vector(2))


def test_threads_never_see_a_place_of_another_word():
    cache = WordCache(3)

    def put_and_get(turn: int) -> bool:
        value = turn % 7
        cache.put(value, vector(value))
        found = [(key, cache.get(key)) for key in range(7)]
        return all(got is None or torch.equal(got, vector(key)) for key, got in found)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(put_and_get, range(400)))
    assert len(cache) == 3


def test_many_words_cost_little_more_than_their_embeddings():
    """In a process of its own, whose heap has no gaps of earlier tests to fill."""
    run = subprocess.run([sys.executable, "-c", KEEP_MANY_WORDS], capture_output=True, text=True,
                         timeout=240, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 4.0  # MB; the embeddings have 0.3
