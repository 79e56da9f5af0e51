"""Weights come from the cache unasked, else whole from the hub, else with the true cause.

The hub is a real server on loopback with switchable faults, see model_hub.py.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import huggingface_hub
import pytest
from hub_situations import (
    FILE,
    cache,
    fine,
    full_while_writing,
    garbage_proxy,
    gone,
    holds,
    newer,
    no_scheme,
    no_space,
    not_writable,
    offline_variable,
    proxied,
    publish_loftup,
    read_only,
    refuse_network,
    refused_token,
    refusing_proxy,
    server_error,
    silent,
    socks_proxy,
    swallowed,
    unresolved,
    with_faults,
)
from model_hub import FULL, SMALL, Faults

from sclip_seg_ros.models import WeightsError, load_clip, transfer
from sclip_seg_ros.models import hub as hub_module
from sclip_seg_ros.models.hub import HubError, Place, list_cached, obtain
from sclip_seg_ros.models.loading import now_loading
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings, load_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import REPOSITORY as LOFTUP
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import read_loftup

CLIPS = [pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.slow)]
if os.environ.get("SCLIP_LONG_TESTS") != "1":
    CLIPS.pop()


def load_everything(hub):
    """Load each kind of thing that comes from a hub."""
    return {
        "tag": lambda: load_clip(hub.model),
        "bin_only": lambda: load_clip(hub.model, hub.published.bin_only),
        "repository": lambda: load_clip(f"hf-hub:{hub.repository}"),
        "pinned": lambda: load_clip(hub.model, f"openai@{hub.commit(hub.repository)}"),
        "loftup": lambda: read_loftup("hub"), "torch-hub": lambda: read_loftup("torch-hub")}


@pytest.fixture(params=CLIPS)
def published(hub, request, monkeypatch):
    """Everything is published; return the weights of the tag."""
    hub.published = request.param
    if request.param is FULL:
        monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 3.0)  # the disk has to deliver, too
    weights = hub.publish_clip()
    hub.publish_bin_only()
    publish_loftup(hub)
    return weights


# Cold


def test_a_tag_is_fetched_with_its_own_statistics_and_activation(hub, published):
    clip = load_clip(hub.model)
    assert holds(clip, published)
    assert clip.name == f"{hub.model}-quickgelu/openai"
    assert {"mean": clip.mean, "std": clip.std} == hub.published.statistics
    assert type(clip.model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_path_commit_and_checksum_are_known_and_logged(hub, published, caplog):
    caplog.set_level("INFO")
    clip = load_clip(hub.model)
    path = hub.folder / hub.repository / FILE
    assert clip.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert clip.origin.repository == hub.repository
    assert clip.origin.commit == hub.commit(hub.repository)
    [line] = [line for line in caplog.messages if line.startswith("weights of")]
    assert clip.origin.commit in line and clip.origin.sha256 in line
    assert str(clip.origin.path) in line


def test_the_cache_is_that_of_huggingface_hub(hub, published):
    """Both ways round: what one has fetched, the other finds."""
    load_clip(hub.model)
    found = huggingface_hub.try_to_load_from_cache(hub.repository, FILE, cache_dir=cache(hub))
    assert Path(found).read_bytes() == (hub.folder / hub.repository / FILE).read_bytes()
    shutil.rmtree(cache(hub))
    program = ("import huggingface_hub; "
               f"huggingface_hub.hf_hub_download('{hub.repository}', '{FILE}')")
    subprocess.run([sys.executable, "-c", program], check=True)  # in the hub's environment
    hub.stop()
    assert load_clip(hub.model).origin.commit == hub.commit(hub.repository)


def test_the_other_file_name_is_asked_for_only_after_no_such_entry(hub, published):
    load_clip(hub.model, hub.published.bin_only)
    names = [request.rpartition("/")[2] for request in hub.requests]
    assert names == [FILE, *["open_clip_pytorch_model.bin"] * 3]  # HEAD, GET, and its storage
    hub.requests.clear()
    hub.faults = Faults(status=500)
    with pytest.raises(HubError):
        load_clip(hub.model)
    assert not [request for request in hub.requests if request.endswith(".bin")]


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub, published, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    load_clip(hub.model)
    told = dict(zip(hub.requests, hub.tokens, strict=True))
    assert {token for request, token in told.items() if "/resolve/" in request} == \
        {"Bearer hf_secret"}
    assert {token for request, token in told.items() if "/storage/" in request} == {None}


def test_cache_dir_is_where_downloads_go(hub, published, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load_clip(hub.model, cache_dir="~/mine")
    read_loftup("torch-hub", cache_dir="~/mine")
    assert {snapshot.repository for snapshot in list_cached("~/mine")} == {hub.repository, LOFTUP}
    assert (tmp_path / "mine").is_dir() and not cache(hub).exists()


# Warm


@pytest.mark.parametrize("situation", [
    fine, gone, silent, offline_variable, refusing_proxy, socks_proxy, garbage_proxy, server_error,
    newer, read_only])
def test_a_warm_start_makes_no_request_and_runs_the_same_weights(
        hub, published, monkeypatch, situation):
    loads = load_everything(hub)
    before = {what: load() for what, load in loads.items()}
    hub.requests.clear()
    situation(hub, monkeypatch)
    pin = f"openai@{before['tag'].origin.commit}"
    loads = {**loads, "pinned": lambda: load_clip(hub.model, pin)}
    # Whoever looked up a name or connected would be told of here.
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse_network)
    for what, load in loads.items():
        again = load()
        if "loftup" in what or what == "torch-hub":
            assert again.origin == before[what].origin
        else:
            assert again.origin == before[what].origin, what
            assert holds(again, before[what].model.state_dict())
    assert hub.requests == []


@pytest.mark.parametrize("copy", ["links", "files", "snapshots alone", "without references"])
def test_a_copied_cache_is_used(hub, published, copy):
    first = load_clip(hub.model)
    hub.stop()
    old = cache(hub).rename(cache(hub).with_name("old"))
    shutil.copytree(old, cache(hub), symlinks=copy != "files" and copy != "snapshots alone")
    folder = cache(hub) / f"models--{hub.repository.replace('/', '--')}"
    if copy != "links":
        shutil.rmtree(old)
    if copy == "snapshots alone":
        shutil.rmtree(folder / "blobs")
    if copy in ("snapshots alone", "without references"):
        shutil.rmtree(folder / "refs")
    again = load_clip(hub.model)
    assert (again.origin.commit, again.origin.sha256) == (first.origin.commit, first.origin.sha256)


def test_a_reference_to_a_snapshot_without_the_file_does_not_hide_the_older_one(hub, published):
    """A download of something newer that broke off, by whatever program."""
    first = load_clip(hub.model)
    hub.stop()
    folder = cache(hub) / f"models--{hub.repository.replace('/', '--')}"
    (folder / "refs/main").write_text("f" * 40)
    assert load_clip(hub.model).origin == first.origin
    (folder / "snapshots" / ("f" * 40)).mkdir()
    (folder / "snapshots" / ("f" * 40) / FILE).symlink_to("../../blobs/nothing")
    assert load_clip(hub.model).origin == first.origin


def test_an_update_that_breaks_off_leaves_what_there_was(hub, published):
    first = load_clip(hub.model)
    hub.publish_clip(seed=9)
    hub.faults = Faults(only="storage", status=500)
    with pytest.raises(HubError):
        obtain(Place(hub.repository), [(FILE,)], hub.model, update=True)
    assert load_clip(hub.model).origin == first.origin


def test_an_update_happens_on_request(hub, published):
    first = load_clip(hub.model)
    weights = hub.publish_clip(seed=9)
    assert load_clip(hub.model).origin == first.origin
    obtain(Place(hub.repository), [(FILE,)], hub.model, update=True)
    clip = load_clip(hub.model)
    assert holds(clip, weights) and clip.origin.commit == hub.commit(hub.repository)


# Downloads


@pytest.mark.parametrize("faults", [
    Faults(only="storage", die_after=100_000, deaths=3),
    Faults(only="storage", die_after=50_000, deaths=2, no_range=True),
    Faults(only="storage", silent_after=50_000, deaths=1),
    Faults(no_size=True),
    Faults(no_size=True, only="storage", die_after=50_000, deaths=2),
], ids=["dies", "dies without ranges", "stalls", "no size", "no size, dies"])
def test_a_download_goes_on_where_it_broke_off(hub, published, faults):
    hub.faults = faults
    assert holds(load_clip(hub.model), published)
    assert not list(cache(hub).rglob("*.incomplete"))


def test_a_download_goes_on_after_a_restart(hub, published, monkeypatch):
    """What came before the hub went away is asked for no second time."""
    size = (hub.folder / hub.repository / FILE).stat().st_size
    hub.faults = Faults(only="storage", die_after=size // 2)
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_pull", failing_after(transfer._pull, 1))
        with pytest.raises(HubError, match="the connection .*lost"):
            load_clip(hub.model)
    [half] = cache(hub).rglob("*.incomplete")
    there = half.stat().st_size
    assert there == size // 2
    hub.faults = Faults()
    hub.requests.clear()
    ranges = []
    hub.on_send = lambda headers: ranges.append(headers.get("Range"))
    assert holds(load_clip(hub.model), published)
    assert ranges == [f"bytes={there}-"]
    assert not list(cache(hub).rglob("*.incomplete"))


def failing_after(original, times):
    """Let a function work so many times, and the network be gone then."""
    left = [times]

    def pull(*arguments):
        if left[0] == 0:
            raise transfer.TransferError("lost", "the connection to the hub was lost (test)", "-")
        left[0] -= 1
        return original(*arguments)

    return pull


def test_half_a_file_that_was_spoilt_is_fetched_anew(hub, published):
    content = (hub.folder / hub.repository / FILE).read_bytes()
    blobs = cache(hub) / f"models--{hub.repository.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(content).hexdigest()}.incomplete").write_bytes(b"x" * 1000)
    assert holds(load_clip(hub.model), published)


def test_what_huggingface_hub_left_half_goes(hub, published):
    content = (hub.folder / hub.repository / FILE).read_bytes()
    blobs = cache(hub) / f"models--{hub.repository.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    orphan = blobs / f"{hashlib.sha256(content).hexdigest()}.12345678.incomplete"
    orphan.write_bytes(b"x")
    fresh = orphan.with_name(orphan.name.replace("1234", "9999"))
    fresh.write_bytes(b"x")  # somebody may be writing it
    os.utime(orphan, (0, 0))
    load_clip(hub.model)
    assert not orphan.exists() and fresh.exists()


def test_two_that_want_the_same_file_fetch_it_once(hub, published):
    size = (hub.folder / hub.repository / FILE).stat().st_size
    hub.faults = Faults(only="storage", rate=size / 2)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_clip(hub.model)))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2 and all(holds(clip, published) for clip in found)
    assert len([request for request in hub.requests if "/storage/" in request]) == 1


def test_a_byte_that_differs_is_noticed_and_nothing_kept(hub, published):
    hub.faults = Faults(only="storage", flip=True)
    with pytest.raises(HubError, match="SHA-256 .* altered on its way") as raised:
        load_clip(hub.model)
    assert raised.value.kind == "checksum"
    assert not [path for path in cache(hub).rglob("*") if path.is_file()]
    hub.faults = Faults()
    assert holds(load_clip(hub.model), published)


@pytest.mark.parametrize("load", [lambda hub: load_clip(hub.model),
                                  lambda hub: read_loftup("hub")],
                         ids=["clip", "loftup"])
def test_a_cached_file_that_the_disk_spoilt_is_fetched_again(hub, published, load, caplog):
    first = load(hub)
    for blob in cache(hub).rglob("blobs/*"):
        spoilt = bytearray(blob.read_bytes())
        spoilt[-5] ^= 255
        blob.write_bytes(spoilt)
    assert load(hub).origin == first.origin
    assert "is spoilt" in caplog.text
    hub.stop()
    assert load(hub).origin == first.origin


def test_a_spoilt_file_out_of_reach_of_the_hub_is_refused(hub, published):
    load_clip(hub.model)
    [blob] = cache(hub).rglob("blobs/*")
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    hub.stop()
    with pytest.raises(HubError, match="refuses the connection"):
        load_clip(hub.model)


# Pins


def test_a_pin_is_kept(hub, published):
    path = hub.folder / hub.repository / FILE
    content = path.read_bytes()
    right, wrong = hashlib.sha256(content).hexdigest(), "0" * 64
    commit = hub.commit(hub.repository)
    for model, pin in ((hub.model, f"openai@{commit}#sha256={right}"),
                       (hub.model, f"openai#sha256={right}"),
                       (hub.model, f"openai@{commit[:8]}")):
        assert load_clip(model, pin).origin.commit == commit
    assert load_clip(f"hf-hub:{hub.repository}@{commit}#sha256={right}").origin.sha256 == right
    for load in (lambda: load_clip(hub.model, f"openai#sha256={wrong}"),
                 lambda: load_clip(f"hf-hub:{hub.repository}#sha256={wrong}"),
                 lambda: load_clip(hub.model, f"{path}#sha256={wrong}")):
        with pytest.raises(WeightsError, match=f"has the SHA-256 {right}, not .*{wrong}"):
            load()
    with pytest.raises(WeightsError, match="'openai#sha256=00ff' ends in no SHA-256"):
        load_clip(hub.model, "openai#sha256=00ff")


def test_a_pinned_commit_is_not_replaced_by_another(hub, published):
    load_clip(hub.model)
    old = hub.commit(hub.repository)
    hub.publish_clip(seed=9)
    new = hub.commit(hub.repository)
    assert load_clip(hub.model, f"openai@{new}").origin.commit == new
    assert load_clip(hub.model, f"openai@{old}").origin.commit == old
    with pytest.raises(HubError, match="there is no such revision.*all its 40 digits") as raised:
        load_clip(hub.model, f"openai@{'d' * 40}")
    assert raised.value.kind == "no revision"
    with pytest.raises(HubError, match="short commit 'ddddddd'; give all its 40|short commit"):
        load_clip(hub.model, "openai@ddddddd")


# Causes


CAUSES = [
    ("no repository", with_faults(status=401, code="RepoNotFound"),
     "no such repository, or it is private .*check its name, or set HF_TOKEN"),
    ("no repository", with_faults(status=404, code="RepoNotFound"), "or it is private"),
    ("token", refused_token(variable="HF_TOKEN"),
     r"127.0.0.1:\d+ refuses the token that HF_TOKEN gives .*correct or unset HF_TOKEN"),
    ("token", refused_token(variable=None), "refuses the token in '.*/token' .*delete that file"),
    ("gated", with_faults(status=403, code="GatedRepo"), "accept its licence .*HF_TOKEN"),
    ("no entry", with_faults(status=404, code="EntryNotFound"),
     "has no 'open_clip_model.safetensors' and no 'open_clip_pytorch_model.bin'"),
    ("status", with_faults(status=503), "answers 503 .*try again later"),
    ("status", with_faults(status=429), "answers 429"),
    ("portal", with_faults(page=True), "a web page answers in place of .*log in"),
    ("portal", with_faults(page=True, only="storage"), "a web page answers"),
    ("cut short", with_faults(only="storage", short=1000), r"announces \d+ bytes, but its server "),
    ("checksum", with_faults(only="storage", flip=True), "altered on its way"),
    ("lost", with_faults(only="storage", die_after=1), "connection.* lost"),
    ("offline", offline_variable, "HF_HUB_OFFLINE is set.*unset HF_HUB_OFFLINE"),
    ("name", unresolved, "the name no-such-host.invalid is not resolved"),
    ("name", no_scheme, "HF_ENDPOINT is 'hf-mirror.com', which does not begin with https:// or "
     r"http:// \(.* of hf-mirror.com\); write it as 'https://hf-mirror.com'"),
    ("refused", gone, "refuses the connection"),
    ("timed out", swallowed, r"does not answer within [\d.]+ s"),
    ("proxy", proxied(407), "the proxy '127.0.0.1:.*' that http_proxy names .*407"),
    ("proxy", proxied(503), "that http_proxy names .*503"),
    ("proxy", socks_proxy, "that ALL_PROXY names .*SOCKS is not supported"),
    ("proxy", garbage_proxy, "the proxy 'nonsense' that HTTP_PROXY names"),
    ("no space", no_space, r"no space in .* \(.* needed, 1.0 kB free\) .*; make room"),
    ("no space", full_while_writing, "no space in"),
    ("not writable", not_writable, "cannot be written to .*cache_dir"),
]


@pytest.mark.parametrize(("kind", "situation", "message"), CAUSES,
                         ids=[f"{kind}-{index}" for index, (kind, _, _) in enumerate(CAUSES)])
@pytest.mark.parametrize("what", ["clip", "loftup"])
def test_the_cause_survives_in_one_sentence(hub, published, monkeypatch, kind, situation, message,
                                            what):
    if what == "loftup":
        message = message.replace("open_clip_model.safetensors' and no 'open_clip_pytorch_model",
                                  "pytorch_model")
    monkeypatch.delenv("NO_PROXY", raising=False)
    situation(hub, monkeypatch)
    with pytest.raises(HubError) as raised:
        load_clip(hub.model) if what == "clip" else read_loftup("hub")
    text = str(raised.value)
    assert re.search(message, text), text
    assert raised.value.kind == kind
    assert "\n" not in text and "secret" not in text and "Traceback" not in text
    if what == "clip":
        assert f"'{hub.model}-quickgelu/openai' are out of reach" in text
        assert f"sclip-fetch --model {hub.model} --to FOLDER" in text
        assert "'embedded'" in text
    else:
        assert "loftup.source" in text and "bilinear fallback" in text


@pytest.mark.parametrize("situation", [situation for _, situation, _ in CAUSES],
                         ids=[f"{kind}-{index}" for index, (kind, _, _) in enumerate(CAUSES)])
def test_a_fallback_that_was_allowed_happens(hub, published, monkeypatch, situation):
    situation(hub, monkeypatch)
    upsampler = load_loftup(LoftUpSettings(source="hub", allow_fallback=True), 32)
    assert upsampler.network is None and "out of reach" in upsampler.fallback


def test_a_folder_without_permission_is_named_before_anything_is_asked(hub, published,
                                                                       monkeypatch):
    """Root may write anywhere, so what the system would say is said for it."""
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HubError, match=r"'.*cache.*' cannot be written to \(Read-only file system"):
        load_clip(hub.model)
    assert hub.requests == []


# What can be seen of it


def test_a_download_is_seen_in_the_log_and_by_who_asks(hub, published, caplog, monkeypatch):
    caplog.set_level("INFO")
    size = (hub.folder / hub.repository / FILE).stat().st_size
    hub.faults = Faults(only="storage", rate=size / 3)
    seen = []
    done = threading.Event()

    def watch():
        while not done.wait(0.05):
            seen.append(now_loading())

    watcher = threading.Thread(target=watch)
    watcher.start()
    load_clip(hub.model)
    done.set()
    watcher.join()
    assert now_loading() == ""
    number = r"[\d.]+"
    assert any(re.fullmatch(rf"loading {hub.model}-quickgelu/openai: {number} of {number} MB", text)
               for text in seen), seen
    lines = [line for line in caplog.messages if line.startswith("download")]
    assert str(cache(hub)) in lines[0] and "MB" in lines[0]
    assert any(re.search(rf"\(\d+%\), {number} .?B a second", line) for line in lines), lines
    assert lines[-1].startswith("downloaded")


def test_the_list_of_the_cache_names_commits_and_sizes(hub, published):
    load_clip(hub.model)
    [found] = list_cached()
    assert (found.repository, found.commit, found.current) == \
        (hub.repository, hub.commit(hub.repository), True)
    assert found.files == {FILE: (hub.folder / hub.repository / FILE).stat().st_size}
    assert hub_module.repository_of(cache(hub) / "x") is None
