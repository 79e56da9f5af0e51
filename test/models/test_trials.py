"""Every trial of weights that was filed, by its number: how it ends now.

The numbers are those of the report of trials against an emulated hub: downloads and caches are 1 to
48, names and files have what was given in place of a number. What was decided otherwise than filed:

- 8, 9, 11: half a file stays, on purpose: the next attempt goes on with it, and there is ever one.
- 11: SIGTERM ends a program by the signal, without a word, as any program that keeps nothing open.
- 24: SOCKS is not supported; with a cold cache one sentence says so.
- 33: a flat folder is no cache; the sentence names the folder that was looked into, and
  `local-dir:` is the way to give a folder.
- 37: no file name is advised any more, but `sclip-fetch`, which knows them.
- 43, 44: `torch-hub` means `hub`, whose file it is.
- The image tower alone is refused by name: words need the text tower, and text embeddings cannot
  be given in its place.
"""

from __future__ import annotations

import ast
import os
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from hub_situations import (
    FILE,
    SIZES,
    cache,
    garbage_proxy,
    gone,
    holds,
    newer,
    no_space,
    not_writable,
    offline_variable,
    proxied,
    publish_loftup,
    read_only,
    refuse_network,
    server_error,
    silent,
    socks_proxy,
    swallowed,
    unresolved,
    with_faults,
)
from model_hub import FULL, SMALL, Faults
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file
from tiny_clip import ARCHITECTURE

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.models.hub import HubError
from sclip_seg_ros.models.names import repository_of_tag
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsamplers.loftup import weights as loftup_weights
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings, load_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import read_loftup, resolve_source
from sclip_seg_ros.tools.figures import provenance

LONG = os.environ.get("SCLIP_LONG_TESTS") == "1"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Bench:
    """What a trial is made with."""

    hub: Any
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    caplog: pytest.LogCaptureFixture

    def load(self, pretrained: str = ""):
        """Load the published CLIP."""
        return load_clip(self.hub.model, pretrained)

    def refused(self, situation: Callable[..., None], load: Callable[[], Any] | None = None,
                ) -> tuple[str, str]:
        """Return kind and sentence of what comes of a situation, which is then over."""
        with self.monkeypatch.context() as patch, pytest.raises(HubError) as raised:
            situation(self.hub, patch)
            (load or self.load)()
        self.hub.faults = Faults()
        text = str(raised.value)
        assert "\n" not in text and "Traceback" not in text
        return raised.value.kind, text

    def starts_warm(self, *situations: Callable[..., None], pretrained: str = "") -> None:
        """Have a cached model load in situations: the same weights, and nobody asked."""
        first = self.load(pretrained)
        for situation in situations:
            with self.monkeypatch.context() as patch:
                situation(self.hub, patch)
                self.hub.requests.clear()
                for name in ("getaddrinfo", "create_connection"):
                    patch.setattr(socket, name, refuse_network)
                again = self.load(pretrained)
            assert again.origin == first.origin and holds(again, first.model.state_dict())
            assert self.hub.requests == []


TRIALS: dict[str, Callable[[Bench], None]] = {}


def trial(*numbers: int) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Enter a trial into the table."""
    def enter(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
        TRIALS.update({str(number): function for number in numbers})
        return function
    return enter


@trial(1)
def every_kind_loads_cold_with_its_own_activation(bench):
    for load in (bench.load, lambda: load_clip(f"hf-hub:{bench.hub.repository}")):
        clip = load()
        assert type(clip.model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert bench.load("bin_only").origin.path.suffix == ".bin"


@trial(2)
def loftup_comes_from_the_hub_by_both_names_and_by_commit(bench):
    commit = bench.hub.commit(loftup_weights.REPOSITORY)
    first = read_loftup(f"hub@{commit}")
    for source in ("hub", "torch-hub"):
        assert read_loftup(source).origin == first.origin


@trial(7)
def a_server_that_dies_or_stalls_is_asked_for_the_rest(bench):
    for faults in (Faults(only="storage", die_after=100_000, deaths=3),
                   Faults(only="storage", silent_after=50_000, deaths=1)):
        shutil.rmtree(cache(bench.hub), ignore_errors=True)
        bench.hub.faults = faults
        bench.load()


@trial(8)
def a_hub_that_goes_away_leaves_half_a_file_to_go_on_with(bench):
    half = (bench.hub.folder / bench.hub.repository / FILE).stat().st_size // 2
    bench.hub.on_send = lambda headers: setattr(  # a first part comes, and then next to nothing
        bench.hub.faults, "die_after", 1 if headers.get("Range") else half)
    assert bench.refused(with_faults(only="storage", die_after=half))[0] == "lost"
    [partial] = cache(bench.hub).rglob("*.incomplete")
    there, ranges = partial.stat().st_size, []
    bench.hub.on_send = lambda headers: ranges.append(headers.get("Range"))
    bench.load()
    assert ranges == [f"bytes={there}-"] and there >= half
    assert not list(cache(bench.hub).rglob("*.incomplete"))


@trial(12)
def a_short_file_is_called_cut_short_and_no_other_is_tried(bench):
    kind, text = bench.refused(with_faults(only="storage", short=1000))
    assert kind == "cut short" and "404" not in text
    assert not [request for request in bench.hub.requests if request.endswith(".bin")]


@trial(13)
def a_full_disk_is_called_so_with_what_is_missing(bench):
    kind, text = bench.refused(no_space)
    assert kind == "no space" and "needed" in text and "make room" in text
    assert not [request for request in bench.hub.requests if request.endswith(".bin")]


@trial(14)
def a_byte_that_differs_is_noticed(bench):
    assert bench.refused(with_faults(only="storage", flip=True))[0] == "checksum"


@trial(15)
def a_name_misspelt_a_private_and_a_gated_repository_have_remedies_of_their_own(bench):
    for status in (401, 404):
        assert "or it is private" in bench.refused(
            with_faults(status=status, code="RepoNotFound"))[1]
    assert "accept its licence" in bench.refused(with_faults(status=403, code="GatedRepo"))[1]


@trial(16)
def a_login_page_is_called_so(bench):
    assert "log in" in bench.refused(with_faults(page=True))[1]


@trial(17)
def a_hub_that_is_down_is_told_once(bench):
    assert bench.refused(server_error)[0] == "status"
    assert not bench.caplog.messages


@trial(18)
def no_network_says_which_kind_of_none(bench):
    assert "HF_HUB_OFFLINE is set" in bench.refused(offline_variable)[1]
    assert "is not resolved" in bench.refused(unresolved)[1]
    assert "does not answer within" in bench.refused(swallowed)[1]


@trial(19, 20, 21)
def a_warm_start_asks_nobody(bench):
    bench.starts_warm(lambda hub, patch: None, offline_variable, swallowed, gone)


@trial(22)
def neither_does_one_whose_weights_are_no_safetensors(bench):
    bench.starts_warm(server_error, silent, gone, pretrained="bin_only")


@trial(23, 24, 25)
def a_proxy_does_not_matter_to_a_warm_start(bench):
    bench.starts_warm(proxied(407), proxied(503), socks_proxy, garbage_proxy)


@trial(26)
def newer_weights_in_the_hub_do_not_replace_those_of_yesterday(bench):
    bench.caplog.set_level("INFO")
    bench.starts_warm(newer)
    assert bench.load().origin.commit in bench.caplog.text


@trial(27)
def a_newer_commit_whose_download_broke_off_hides_nothing(bench):
    first = bench.load()
    folder = cache(bench.hub) / f"models--{bench.hub.repository.replace('/', '--')}"
    (folder / "refs/main").write_text("f" * 40)
    bench.starts_warm(newer, gone)
    assert bench.load().origin == first.origin


@trial(28, 29)
def a_read_only_cache_serves(bench):
    bench.starts_warm(read_only)


@trial(30)
def a_cold_cache_that_cannot_be_written_to_is_called_so(bench):
    kind, text = bench.refused(not_writable)
    assert kind == "not writable" and "cache_dir" in text


@trial(31)
def two_at_once_download_once(bench):
    size = (bench.hub.folder / bench.hub.repository / FILE).stat().st_size
    bench.hub.faults = Faults(only="storage", rate=size * 2)
    found: list = []
    threads = [threading.Thread(target=lambda: found.append(bench.load())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert len([request for request in bench.hub.requests if "/storage/" in request]) == 1


@trial(32)
def a_copied_cache_serves(bench):
    first = bench.load()
    bench.hub.stop()
    for links in (True, False):
        copy = bench.folder / f"copy-{links}"
        shutil.copytree(cache(bench.hub), copy, symlinks=links)
        assert load_clip(bench.hub.model, cache_dir=str(copy)).origin.sha256 == first.origin.sha256


@trial(33)
def snapshots_alone_serve_and_of_a_flat_folder_the_place_is_named(bench):
    first = bench.load()
    bench.hub.stop()
    name = f"models--{bench.hub.repository.replace('/', '--')}"
    shutil.copytree(cache(bench.hub) / name / "snapshots",
                    bench.folder / "copy" / name / "snapshots")
    again = load_clip(bench.hub.model, cache_dir=str(bench.folder / "copy"))
    assert again.origin.sha256 == first.origin.sha256
    flat = bench.folder / "flat"
    flat.mkdir()
    shutil.copy(first.origin.path, flat / FILE)
    with pytest.raises(HubError, match=f"'{flat}' lacks them.*local-dir:FOLDER"):
        load_clip(bench.hub.model, cache_dir=str(flat))


@trial(34, 36)
def a_file_out_of_a_snapshot_is_what_it_was_also_to_loftup(bench):
    bench.monkeypatch.setattr(loftup_weights, "PUBLISHED_BACKBONE",
                              f"{bench.hub.model}-quickgelu/openai")
    first = bench.load()
    clip = bench.load(str(first.origin.path))
    assert clip.name == first.name == f"{bench.hub.model}-quickgelu/openai"
    assert (clip.mean, clip.std) == (first.mean, first.std)
    assert holds(clip, first.model.state_dict())
    sizes = SIZES if bench.hub.published is SMALL else type(SIZES)(
        512, frequencies=6, position_frequencies=3, depth=1, hidden=32)
    publish_loftup(bench.hub, sizes=sizes)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    segmentor = SCLIPSegmentor(bench.hub.model, str(first.origin.path), use_loftup=True)
    assert segmentor.segment(image, ["cup", "dog"]).shape == (64, 64)
    assert not segmentor.fallbacks


TAGS = [("ViT-L-14", "laion2b_s32b_b82k"), *(
    (model, tag) for model, tag in open_clip.list_pretrained() if "CLIPA" in model)]


@trial(35)
def a_file_keeps_the_statistics_of_its_tag(bench):
    """Of the real tags and repositories; the towers are small ones under the same names."""
    config = open_clip.get_model_config
    small = {**ARCHITECTURE, "text_cfg": ARCHITECTURE["text_cfg"]}
    bench.monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(small) if any(
        name.startswith(model) for model, _ in TAGS) else config(name))
    weights = {name: value.contiguous()
               for name, value in open_clip.CLIP(**small).state_dict().items()}
    assert len(TAGS) == 8
    for model, tag in TAGS:
        stated = get_pretrained_cfg(model, tag)
        repository, _ = repository_of_tag(stated)
        folder = cache(bench.hub) / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        save_file(weights, snapshot / FILE)
        clip = load_clip(model, str(snapshot / FILE))
        assert (clip.mean, clip.std) == (tuple(stated["mean"]), tuple(stated["std"])), tag
        assert clip.name == f"{model}/{tag}"


@trial(37)
def weights_out_of_reach_advise_what_knows_their_names(bench):
    text = bench.refused(gone, lambda: bench.load("bin_only"))[1]
    assert f"sclip-fetch --model {bench.hub.model} --pretrained bin_only --to FOLDER" in text
    assert "open_clip_model" not in text


@trial(38)
def what_is_recorded_is_the_file_that_was_used(bench):
    segmentor = SCLIPSegmentor(bench.hub.model, "bin_only")
    bench.hub.requests.clear()
    made = provenance.describe_segmentation(segmentor, segmentor.vocabulary(["a", "b"]))
    assert bench.hub.commit(bench.hub.published.bin_only_repository) in str(made)
    assert bench.hub.requests == []


@trial(40)
def loftup_out_of_reach_has_causes_too(bench):
    for kind, faults in (("cut short", {"only": "storage", "short": 100}), ("portal", {"page": 1}),
                         ("no repository", {"status": 404, "code": "RepoNotFound"}),
                         ("gated", {"status": 403, "code": "GatedRepo"})):
        assert bench.refused(with_faults(**faults), lambda: read_loftup("hub"))[0] == kind


@trial(41)
def a_loftup_that_the_disk_spoilt_is_fetched_again(bench):
    first = read_loftup("hub")
    for blob in cache(bench.hub).rglob("blobs/*"):
        blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    assert read_loftup("hub").origin == first.origin


@trial(42)
def no_foreign_exception_leaves_a_download_and_an_allowed_fallback_happens(bench):
    bench.monkeypatch.delenv("NO_PROXY", raising=False)
    for situation in (proxied(407), with_faults(only="storage", die_after=1)):
        bench.refused(situation, lambda: read_loftup("hub"))
        with bench.monkeypatch.context() as patch:
            situation(bench.hub, patch)
            found = load_loftup(LoftUpSettings(source="hub", allow_fallback=True), 32)
        bench.hub.faults = Faults()
        assert found.network is None and "out of reach" in found.fallback


@trial(43)
def torch_hub_keeps_no_half_file_as_whole(bench):
    for faults in (with_faults(only="storage", short=100), with_faults(page=True),
                   with_faults(only="storage", die_after=1)):
        bench.refused(faults, lambda: read_loftup("torch-hub"))
    assert read_loftup("torch-hub").state


@trial(44, 45)
def torch_hub_goes_to_the_mirror_and_into_the_home_folder(bench):
    bench.monkeypatch.setenv("HOME", str(bench.folder))
    bench.monkeypatch.chdir(bench.folder)
    read_loftup("torch-hub", cache_dir="~/mine")
    assert bench.hub.requests and (bench.folder / "mine").is_dir()
    assert not (bench.folder / "~").exists()


@trial(46)
def a_cached_loftup_asks_nobody(bench):
    first = read_loftup("hub")
    bench.hub.requests.clear()
    silent(bench.hub, bench.monkeypatch)
    for name in ("getaddrinfo", "create_connection"):
        bench.monkeypatch.setattr(socket, name, refuse_network)
    assert read_loftup("hub").origin == first.origin and bench.hub.requests == []


@trial(47)
def a_short_commit_serves_for_what_is_cached_and_else_is_called_so(bench):
    commit = bench.hub.commit(loftup_weights.REPOSITORY)
    with pytest.raises(HubError, match="give all its 40 digits"):
        read_loftup(f"hub@{commit[:7]}")
    first = read_loftup(f"hub@{commit}")
    assert read_loftup(f"hub@{commit[:7]}").origin == first.origin


@trial(48)
def a_tag_has_one_name_however_it_is_written(bench):
    bench.monkeypatch.setattr(loftup_weights, "PUBLISHED_BACKBONE",
                              f"{bench.hub.model}-quickgelu/openai")
    assert resolve_source("auto", bench.load("OpenAI").name) == "hub"


# Trials that need a process of their own, a terminal or a node, and those of names and files.
ELSEWHERE = {
    "3": "models/test_loading.py::test_on_a_terminal_it_is_a_bar",
    "4": "ros/test_node_loading.py::test_a_download_is_seen_in_the_log_the_diagnostics_and_"
         "show_state",
    "5": "ros/test_node_loading.py::test_a_download_is_seen_in_the_log_the_diagnostics_and_"
         "show_state",
    "6": "ros/test_node_loading.py::test_a_download_is_seen_in_the_log_the_diagnostics_and_"
         "show_state",
    "9": "ros/test_node_loading.py::test_a_signal_ends_a_download_and_the_next_start_goes_on_"
         "with_it",
    "10": "tools/test_fetch.py::test_ctrl_c_in_a_download_is_one_line_and_the_next_start_goes_on",
    "11": "tools/test_fetch.py::test_ctrl_c_in_a_download_is_one_line_and_the_next_start_goes_on",
    "39": "models/test_hub.py::test_the_cache_is_that_of_huggingface_hub",
    "unknown names, near misses, OpenAI's and transformers' spelling, paths as model":
        "models/test_model_names.py::test_an_unknown_model_is_refused",
    "ViT-B-16/openai": "models/test_model_names.py::test_a_model_may_be_named_as_the_log_names_it",
    "ViT-L/14@336px": "models/test_model_names.py::test_openais_own_spelling_is_understood",
    "ViT-H-14 without pretrained":
        "models/test_model_names.py::test_an_architecture_without_openais_weights_is_told_so",
    "RN50, MobileCLIP2-S0, CoCa":
        "models/test_model_names.py::test_a_family_that_cannot_work_is_refused_before_it_is_"
        "downloaded",
    "xlm-roberta, CLIPA without transformers":
        "models/test_model_names.py::test_a_lack_of_transformers_is_called_so_before_anything_is_"
        "downloaded",
    "SigLIP, EVA, Perception Encoder, MobileCLIP2-L":
        "models/test_siglip_and_eva.py::test_every_architecture_is_taken_or_refused_in_a_sentence",
    "a folder as pretrained; unreadable files":
        "models/test_weights.py::test_a_folder_and_a_file_without_permission_are_called_so",
    "ONNX, GGUF, TensorRT, NumPy, LFS pointer, HTML":
        "models/test_weights.py::test_a_file_is_named_as_what_it_is_whatever_its_ending",
    "safetensors under another ending":
        "models/test_weights.py::test_safetensors_are_read_under_any_name",
    "torch file named safetensors":
        "models/test_weights.py::test_a_torch_file_is_read_under_any_name",
    "prefixes, extra and scalar-shaped buffers, text.*, transformers' names":
        "models/test_weight_layouts.py::test_the_same_weights_in_another_layout_are_the_same_model",
    "image tower alone": "models/test_weight_layouts.py::test_the_image_tower_alone_is_called_so",
    "another image size":
        "models/test_weight_layouts.py::test_weights_of_another_image_size_bring_it_along",
    "transformers' folder":
        "models/test_weight_layouts.py::test_a_folder_of_transformers_is_loaded",
    "transformers' cache": "models/test_weight_layouts.py::test_transformers_cache_is_used",
    "TorchScript":
        "models/test_clip_activations.py::test_openais_torchscript_archive_is_loaded_with_its_"
        "activation",
    "another architecture's file, GELU warning":
        "models/test_weight_layouts.py::test_foreign_weights_are_still_named",
}


@pytest.fixture
def bench(hub, request, monkeypatch, tmp_path, caplog):
    """Publish everything, small or at full size."""
    hub.published = request.param
    hub.publish_clip()
    hub.publish_bin_only()
    publish_loftup(hub)
    monkeypatch.delenv("NO_PROXY", raising=False)
    caplog.set_level("WARNING")
    yield Bench(hub, monkeypatch, tmp_path, caplog)


ROWS = [pytest.param(number, SMALL, id=f"trial {number}") for number in TRIALS]
if LONG:
    ROWS += [pytest.param(number, FULL, id=f"trial {number}, full size", marks=pytest.mark.slow)
             for number in ("34", "36")]


@pytest.mark.parametrize(("number", "bench"), ROWS, indirect=["bench"])
def test_trial(number, bench):
    TRIALS[number](bench)


@pytest.mark.parametrize("given", ELSEWHERE, ids=lambda given: f"trial {given}")
def test_a_trial_held_elsewhere_has_its_test(given):
    file, _, name = ELSEWHERE[given].partition("::")
    defined = {node.name for node in ast.parse((ROOT / file).read_text()).body
               if isinstance(node, ast.FunctionDef)}
    assert name in defined


def test_every_numbered_trial_is_in_the_table():
    assert {str(number) for number in range(1, 49)} == \
        TRIALS.keys() | {given for given in ELSEWHERE if given.isdigit()}
    assert not TRIALS.keys() & ELSEWHERE.keys()


