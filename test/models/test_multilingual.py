"""Models whose texts go through the library transformers, as an optional extra brings it."""

from __future__ import annotations

import json
import socket

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained as published
from safetensors.torch import save
from tiny_clip import ARCHITECTURE

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.fetch import main as fetch

tokenizers = pytest.importorskip("tokenizers", reason="pip install transformers sentencepiece")
transformers = pytest.importorskip("transformers", reason="pip install transformers sentencepiece")

NAME, REPOSITORY, TEXT = "tiny-roberta-ViT", "tests/tiny-roberta.laion", "tests/tiny-xlm-roberta"
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "photo", "of", "the", ".", "wand", "boden",
         "стена", "пол"]
TOWERS = {  # as xlm-roberta-base-ViT-B-32 has it, and as ViT-L-14-CLIPA
    "roberta": {"hf_model_name": TEXT, "hf_tokenizer_name": TEXT, "hf_proj_type": "mlp",
                "hf_pooler_type": "mean_pooler"},
    "CLIPA": {**ARCHITECTURE["text_cfg"], "hf_tokenizer_name": TEXT, "vocab_size": len(WORDS),
              "pool_type": "last", "no_causal_mask": True}}


@pytest.fixture(params=TOWERS)
def multilingual(hub, tmp_path_factory, request):
    """Publish a tiny model with texts of transformers; return its weights."""
    config = {**ARCHITECTURE, "text_cfg": TOWERS[request.param]}
    folder = tmp_path_factory.mktemp("architecture")
    (folder / f"{NAME}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    published._PRETRAINED[NAME] = {"laion": {"hf_hub": f"{REPOSITORY}/"}}
    text = {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "hidden_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
            "vocab_size": len(WORDS), "max_position_embeddings": 128, "pad_token_id": 1,
            "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(
        {word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    hub.publish(TEXT, {
        "config.json": json.dumps(text).encode(), "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", **special}).encode()})
    local = folder / "text"
    local.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (local / name).write_bytes((hub.folder / TEXT / name).read_bytes())
    torch.manual_seed(0)
    if request.param == "CLIPA":
        model = open_clip.CLIP(**config)
    else:
        model = open_clip.CustomTextCLIP(**{**config, "text_cfg": {
            **config["text_cfg"], "hf_model_name": str(local), "hf_model_pretrained": False}})
    weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    hub.publish(REPOSITORY, {
        "open_clip_model.safetensors": save(weights),
        "open_clip_config.json": json.dumps({"model_cfg": config, "preprocess_cfg": {}}).encode()})
    return weights


def refuse_network(*arguments, **options):
    raise AssertionError(f"the network was asked: {arguments}")


def labels(model: str, pretrained: str = "") -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return SCLIPSegmentor(model, pretrained).segment(image, ["wand", "пол"])


@pytest.mark.parametrize(("model", "pretrained"), [(NAME, "laion"), (f"hf-hub:{REPOSITORY}", "")])
def test_a_warm_start_asks_nobody_also_for_texts(hub, multilingual, monkeypatch, model, pretrained):
    clip = load_clip(model, pretrained)
    assert all(torch.equal(value, multilingual[name])
               for name, value in clip.model.state_dict().items())
    assert clip.tokenize(["wand"])[0, :3].tolist() == [0, WORDS.index("wand"), 2]
    first = labels(model, pretrained)
    hub.requests.clear()
    hub.stop()
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse_network)
    assert np.array_equal(labels(model, pretrained), first)
    assert hub.requests == []


def test_a_fetched_folder_has_the_tokenizer_too(hub, multilingual, tmp_path, monkeypatch):
    folder = tmp_path / "clip"
    assert fetch(["--model", NAME, "--pretrained", "laion", "--to", str(folder)]) == 0
    first = labels(NAME, "laion")
    hub.stop()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse_network)
    assert np.array_equal(labels(f"local-dir:{folder}"), first)
