"""Words to embeddings: CLIP's own recipe, each word encoded once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import open_clip
import pytest
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES, SimpleTokenizer
from tiny_clip import ARCHITECTURE, initial_weights, write_config, write_tiny_clip
from torch.nn.functional import normalize

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation.text import encoder as text_module
from sclip_seg_ros.segmentation.text.encoder import TextEncoder, encode_prompts
from sclip_seg_ros.segmentation.text.palette import palette_of

TEMPLATES = ("a photo of a {}.", "a bad photo of the {}.", "{}")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_tiny_clip(folder)
    return load_clip(f"local-dir:{folder}")


@pytest.fixture
def encoder(clip):
    return TextEncoder(clip)


@pytest.fixture
def prompts_encoded(monkeypatch):
    """Count the prompts that go through the text tower."""
    counts, real, lock = [], encode_prompts, threading.Lock()

    def spy(model, tokens):
        with lock:
            counts.append(len(tokens))
        return real(model, tokens)

    monkeypatch.setattr(text_module, "encode_prompts", spy)
    return counts


def test_the_templates_are_clips_eighty(clip, prompts_encoded):
    TextEncoder(clip).encode(["dog"])
    assert prompts_encoded == [80] == [len(OPENAI_IMAGENET_TEMPLATES)]


@pytest.mark.parametrize("templates", [TEMPLATES, OPENAI_IMAGENET_TEMPLATES], ids=["3", "80"])
def test_prompts_are_normalised_averaged_and_normalised_again(clip, templates):
    prompts = [t("traffic light") if callable(t) else t.format("traffic light") for t in templates]
    with torch.inference_mode():
        prompted = clip.model.encode_text(clip.tokenize(prompts)).double()
    expected = normalize(normalize(prompted, dim=-1).mean(0), dim=-1)
    embedding = TextEncoder(clip).encode(["traffic light"], templates)[0]
    assert embedding.dtype == torch.float32
    assert embedding.norm().item() == pytest.approx(1, abs=1e-6)
    assert (embedding - expected).abs().max() < 2e-6
    unordered = normalize(prompted.mean(0), dim=-1)
    assert (expected - unordered).abs().max() > 1e-5  # the order does make a difference here


def test_templates_take_words_with_braces(encoder):
    assert encoder.encode(["{0} {x}"], TEMPLATES).shape == (1, ARCHITECTURE["embed_dim"])


@pytest.mark.parametrize("words", [["a"], ["a dog", "x", "a much longer phrase about a dog"]])
def test_leaving_out_the_padding_changes_nothing(clip, words):
    tokens = clip.tokenize(words)
    with torch.inference_mode():
        expected = clip.model.encode_text(tokens)
        assert (encode_prompts(clip.model, tokens) - expected).abs().max() < 1e-5
        full = clip.tokenize(["dog " * 100])
        assert full.argmax() == full.shape[1] - 1
        assert (encode_prompts(clip.model, full)
                - clip.model.encode_text(full)).abs().max() < 1e-5


def test_the_tower_reads_no_further_than_the_longest_prompt(clip):
    lengths = []
    handle = clip.model.transformer.register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1]))
    with torch.inference_mode():
        encode_prompts(clip.model, clip.tokenize(["dog", "a photo of a dog"]))
    handle.remove()
    assert lengths == [5 + 2]


@pytest.mark.parametrize("change", [{"no_causal_mask": True}, {"pool_type": "last"},
                                    {"proj_bias": True}, {"eos_id": 49407, "pool_type": "eos"}],
                         ids=lambda change: "-".join(change))
def test_towers_of_another_build_are_encoded_in_full(tmp_path, change):
    if not change.keys() <= open_clip.CLIPTextCfg.__annotations__.keys():
        pytest.skip("this open_clip is too old to build such a tower")
    architecture = {**ARCHITECTURE, "text_cfg": {**ARCHITECTURE["text_cfg"], **change}}
    write_config(tmp_path, architecture)
    torch.save(initial_weights(tmp_path), tmp_path / "open_clip_pytorch_model.bin")
    clip = load_clip(f"local-dir:{tmp_path}")
    tokens = clip.tokenize(["a dog", "a traffic light"])
    with torch.inference_mode():
        assert torch.equal(encode_prompts(clip.model, tokens), clip.model.encode_text(tokens))


@pytest.mark.parametrize("no_causal_mask", [False, True])
def test_a_text_tower_of_its_own_gives_its_own_embeddings(no_causal_mask):
    """As those of EVA-CLIP and MobileCLIP are, causal, or SigLIP's, whose padding counts."""
    text = {**ARCHITECTURE["text_cfg"], "no_causal_mask": no_causal_mask}
    model = open_clip.CustomTextCLIP(**{**ARCHITECTURE, "text_cfg": text}).eval()
    tokens = open_clip.SimpleTokenizer(context_length=32)(["a dog", "a large red chair"])
    with torch.inference_mode():
        assert torch.allclose(encode_prompts(model, tokens), model.encode_text(tokens), atol=1e-5)


def test_a_word_costs_time_once(encoder, prompts_encoded):
    first = encoder.encode(["dog", "cat"], TEMPLATES)
    assert prompts_encoded == [3, 3]
    again = encoder.encode(["cat", "dog", "cat"], TEMPLATES)
    assert prompts_encoded == [3, 3]
    assert torch.equal(again, first[[1, 0, 1]])


def test_an_embedding_does_not_depend_on_the_words_beside_it(clip):
    alone = TextEncoder(clip).encode(["dog"], TEMPLATES)
    among = TextEncoder(clip).encode(["cat", "a very long phrase", "dog"], TEMPLATES)
    assert torch.equal(among[2], alone[0])


def test_what_a_caller_does_to_an_embedding_stays_with_him(encoder):
    first = encoder.encode(["dog"], TEMPLATES)
    kept = first.clone()
    first.zero_()
    assert torch.equal(encoder.encode(["dog"], TEMPLATES), kept)


def test_the_words_used_last_are_remembered(clip, monkeypatch, prompts_encoded):
    monkeypatch.setattr(text_module, "CACHE_SIZE", 2)
    encoder = TextEncoder(clip)
    encoder.encode(["dog", "cat", "dog", "bird"], TEMPLATES)
    assert len(prompts_encoded) == 3
    encoder.encode(["dog", "bird"], TEMPLATES)
    assert len(prompts_encoded) == 3
    encoder.encode(["cat"], TEMPLATES)
    assert len(prompts_encoded) == 4


def test_a_phrase_that_does_not_fit_is_refused_and_the_longest_that_fits_is_not(
        encoder, prompts_encoded):
    limit = ARCHITECTURE["text_cfg"]["context_length"]
    frame = len(SimpleTokenizer().encode("a bad photo of the dog.")) - 1 + 2
    assert encoder.encode([" ".join(["dog"] * (limit - frame))], TEMPLATES).isfinite().all()
    too_long = " ".join(["dog"] * (limit - frame + 1))
    with pytest.raises(ValueError, match="class 'dog dog .*' with its prompt does not fit into "
                                         "the 32 tokens .*use fewer words"):
        encoder.encode([too_long], TEMPLATES)
    assert len(prompts_encoded) == 1
    with pytest.raises(ValueError, match="use fewer words"):
        encoder.vocabulary(["floor", too_long], templates=TEMPLATES)


@pytest.mark.parametrize("word", ["障害物", "🚗", "naïve café", "  ", "|"])
def test_words_of_any_script_have_an_embedding(encoder, word):
    assert encoder.encode([word], TEMPLATES).norm().item() == pytest.approx(1, abs=1e-6)


def test_a_vocabulary_binds_words_to_classes(encoder):
    vocabulary = encoder.vocabulary(["floor|ground", "wall", "TV  set|screen|monitor"],
                                    background="Wall", version=7)
    assert vocabulary.names == ("floor", "wall", "TV set")
    assert vocabulary.background == 1
    assert vocabulary.version == 7
    assert vocabulary.query_class.tolist() == [0, 0, 1, 2, 2, 2]
    words = ["floor", "ground", "wall", "TV set", "screen", "monitor"]
    assert torch.equal(vocabulary.embeddings, encoder.encode(words))
    assert (vocabulary.colours == palette_of(vocabulary.names)).all()
    assert encoder.vocabulary(["floor", "wall"]).background is None


def test_the_order_of_synonyms_moves_no_embedding(encoder):
    one = encoder.vocabulary(["person|man|woman", "wall"])
    other = encoder.vocabulary(["person|woman|man", "wall"])
    assert torch.equal(one.embeddings, other.embeddings[[0, 2, 1, 3]])
    assert torch.equal(one.query_class, other.query_class)


def test_a_refused_vocabulary_encodes_nothing(encoder, prompts_encoded):
    for classes, background in ([], ""), (["a", "a"], ""), (["a", "b"], "sky"):
        with pytest.raises(ValueError):
            encoder.vocabulary(classes, background)
    assert prompts_encoded == []


def test_several_threads_may_ask_at_once(clip, monkeypatch):
    monkeypatch.setattr(text_module, "CACHE_SIZE", 3)  # with evictions going on
    words = ["dog", "cat", "bird", "fish", "horse"]
    expected = TextEncoder(clip).encode(words, TEMPLATES)
    shared = TextEncoder(clip)
    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(lambda _: shared.encode(words, TEMPLATES), range(24)))
    assert all(torch.equal(embeddings, expected) for embeddings in rounds)
    assert len(shared._cache) == 3


def test_a_vocabulary_has_its_own_templates_and_colours(clip):
    encoder = TextEncoder(clip)
    usual = encoder.vocabulary(["dog", "cat"])
    own = encoder.vocabulary(["dog", "cat"], templates=["a {} in a warehouse."],
                             palette={"cat": (1, 2, 3)})
    assert not torch.allclose(own.embeddings, usual.embeddings)
    assert own.colours[1].tolist() == [1, 2, 3]
    assert own.colours[0].tolist() == usual.colours[0].tolist()
    again = encoder.vocabulary(["dog", "cat"])  # the palette given once does not stick
    assert again.colours.tolist() == usual.colours.tolist()
    assert torch.equal(again.embeddings, usual.embeddings)


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{} and {}"], ["a {thing}"]])
def test_templates_that_are_none_are_refused(clip, templates):
    with pytest.raises(ValueError, match="template"):
        TextEncoder(clip).encode(["dog"], templates)
