"""Weights of CLIP under the names that this or that program gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import open_clip
import torch
from torch import Tensor

# The first layer of an image tower: in open_clip's layout, in timm's, in EVA's, in transformers'.
_OURS, _TRANSFORMERS = "visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"
_TIMM, _EVA = "visual.trunk.patch_embed.proj.weight", "visual.patch_embed.proj.weight"
_POSITIONS_TRANSFORMERS = "vision_model.embeddings.position_embedding.weight"
_COMPILED = "_orig_mod."  # torch.compile puts it before the names of whatever it compiles
# Constants that some versions keep beside the weights, and numbers of OpenAI's archives.
_CONSTANTS = ("attn_mask", "position_ids", "logit_bias", "input_resolution", "context_length",
              "vocab_size")
_BLOCKS = (  # transformers' names within a block
    (r"(resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"(resblocks\.\d+)\.layer_norm([12])\.", r"\1.ln_\2."),
    (r"(resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
)
_RENAMED = (  # transformers' names, in this order
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    *_BLOCKS,
)
_RENAMED_SIGLIP = (  # transformers' names, in this order
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.trunk.patch_embed.proj."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.trunk.pos_embed"),
    (r"^vision_model\.post_layernorm\.", "visual.trunk.norm."),
    (r"^vision_model\.encoder\.layers\.", "visual.trunk.blocks."),
    (r"^vision_model\.head\.probe$", "visual.trunk.attn_pool.latent"),
    (r"^vision_model\.head\.attention\.out_proj\.", "visual.trunk.attn_pool.proj."),
    (r"^vision_model\.head\.attention\.in_proj", "visual.trunk.attn_pool.in_proj"),
    (r"^vision_model\.head\.layernorm\.", "visual.trunk.attn_pool.norm."),
    (r"^vision_model\.head\.mlp\.", "visual.trunk.attn_pool.mlp."),
    (r"(trunk\.blocks\.\d+)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"(trunk\.blocks\.\d+)\.self_attn\.out_proj\.", r"\1.attn.proj."),
    (r"(trunk\.blocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"^text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "text.ln_final."),
    (r"^text_model\.head\.", "text.text_projection."),
    (r"^text_model\.encoder\.layers\.", "text.transformer.resblocks."),
    *_BLOCKS,
)
_POSITIONS = "visual.trunk.pos_embed"
_RENAMED_EVA = (  # names of EVA-CLIP's and CLIPSelf's own files
    (r"^visual\.", "visual.trunk."),
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
    (r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}


class LayoutError(ValueError):
    """A layout that no model of ours can be read from; the message says which and what to do."""


def adapted(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights the names and shapes that open_clip's model has, where they are the same model.

    Prefixes of trainers and compilers go, transformers' names are translated, text towers move in
    or out of ``text.``, constants that the model does not keep are left out, and a temperature
    is a scalar or not. Nothing is made up: what is missing or foreign stays so.

    Args:
        state: as read from a file.
        wanted: the model's own state.

    Raises:
        LayoutError: the image tower alone.
    """
    found = {name: value for name, value in without_prefixes(state).items()
             if name in wanted or name.rpartition(".")[2] not in _CONSTANTS}
    if _TRANSFORMERS in found:
        found = _of_siglip(found) if _TIMM in wanted else _of_transformers(found)
    if _EVA in found and _TIMM in wanted:
        found = _of_eva(found, wanted)
    _refuse_image_tower(found, wanted)
    if any(name.startswith("text.") for name in wanted):
        found = {name if name in wanted or f"text.{name}" not in wanted else f"text.{name}": value
                 for name, value in found.items()}
    else:
        found = {name.removeprefix("text."): value for name, value in found.items()}
    for name in ("logit_scale", "logit_bias"):
        value = found.get(name)
        if value is not None and name in wanted and value.numel() == wanted[name].numel():
            found[name] = value.reshape(wanted[name].shape)
    return found


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take away what trainers and compilers put before the names of weights."""
    found = {name.replace(_COMPILED, ""): value for name, value in state.items()}
    for anchor in (_OURS, _TIMM, _EVA, _TRANSFORMERS):
        prefix = next((name.removesuffix(anchor) for name in found if name.endswith(anchor)), "")
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def image_side(state: Mapping[str, Tensor]) -> int | None:
    """Return the side in pixels that a square image tower's table of positions is for.

    None where the names or sizes tell none.

    Args:
        state: as read from a file, in open_clip's or transformers' names.
    """
    found = without_prefixes(state)
    table = found.get("visual.positional_embedding", found.get(_POSITIONS_TRANSFORMERS))
    patch = found.get(_OURS, found.get(_TRANSFORMERS))
    if table is None or patch is None or table.dim() != 2 or patch.dim() != 4:
        return None
    side = round((table.shape[0] - 1) ** 0.5)
    return side * patch.shape[-1] if side * side == table.shape[0] - 1 else None


def config_of_transformers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's configuration of a model by transformers' config.json.

    What the file leaves out has transformers' defaults (those of ViT-B/32).

    Raises:
        LayoutError: it is of another model.
    """
    vision = {**(config.get("vision_config_dict") or {}), **(config.get("vision_config") or {})}
    text = {**(config.get("text_config_dict") or {}), **(config.get("text_config") or {})}
    if config.get("model_type") == "siglip":
        return _config_of_siglip(vision, text)
    if config.get("model_type") != "clip":
        raise LayoutError(f"its config.json is of a model of type '{config.get('model_type')}', "
                          "not of CLIP or SigLIP; give one of these")
    width, text_width = vision.get("hidden_size", 768), text.get("hidden_size", 512)
    activation = vision.get("hidden_act", "quick_gelu")
    if activation not in _ACTIVATIONS or text.get("hidden_act", "quick_gelu") != activation:
        raise LayoutError(f"its activation '{activation}' is not known; give a CLIP with one of "
                          f"{', '.join(_ACTIVATIONS)}")
    return {
        "embed_dim": config.get("projection_dim", 512),
        "quick_gelu": _ACTIVATIONS[activation],
        "vision_cfg": {
            "image_size": vision.get("image_size", 224),
            "layers": vision.get("num_hidden_layers", 12),
            "width": width, "head_width": width // vision.get("num_attention_heads", 12),
            "mlp_ratio": vision.get("intermediate_size", 4 * width) / width,
            "patch_size": vision.get("patch_size", 32)},
        "text_cfg": {
            "context_length": text.get("max_position_embeddings", 77),
            "vocab_size": text.get("vocab_size", 49408), "width": text_width,
            "heads": text.get("num_attention_heads", 8),
            "layers": text.get("num_hidden_layers", 12),
            "mlp_ratio": text.get("intermediate_size", 4 * text_width) / text_width}}


def statistics_of_transformers(config: Mapping[str, Any],
                               processor: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's ``preprocess_cfg`` of a model, as far as transformers' files tell it.

    Args:
        config: of config.json; what no other file says has this model's defaults in transformers.
        processor: of preprocessor_config.json, or of processor_config.json, which since
            transformers 5 holds the same one level below.
    """
    found = {"mean": (0.5,) * 3, "std": (0.5,) * 3} if config.get("model_type") == "siglip" else {}
    stated = processor.get("image_processor", processor)
    return {**found, **{ours: stated[theirs] for ours, theirs in
                        (("mean", "image_mean"), ("std", "image_std")) if theirs in stated}}


def _config_of_siglip(vision: Mapping[str, Any], text: Mapping[str, Any]) -> dict[str, Any]:
    """Return open_clip's configuration of the SigLIP of given sizes; SigLIP 2 has more words."""
    width, patch = vision.get("hidden_size", 768), vision.get("patch_size", 16)
    side, words = vision.get("image_size", 224), text.get("vocab_size", 32000)
    for name in open_clip.list_models():
        if "SigLIP" not in name or f"-{patch}-" not in name:
            continue
        config = open_clip.get_model_config(name)
        if (config["embed_dim"], config["text_cfg"]["vocab_size"]) == (width, words) \
                and config["vision_cfg"]["image_size"] // patch == side // patch:
            return config
    raise LayoutError(f"its config.json is of a SigLIP of width {width}, patches of {patch} and "
                      f"images of {side} pixels, which open_clip does not have; give one of its "
                      "SigLIP models")


def _of_siglip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate transformers' SigLIP: other names, and projections joined or apart."""
    found = {_renamed(name, _RENAMED_SIGLIP): value for name, value in state.items()}
    _join_projections(found)
    for kind in ("weight", "bias"):  # of the pooling's query, and of its keys and values
        joined = found.pop(f"visual.trunk.attn_pool.in_proj_{kind}", None)
        if joined is not None:
            width = len(joined) // 3
            found[f"visual.trunk.attn_pool.q.{kind}"] = joined[:width]
            found[f"visual.trunk.attn_pool.kv.{kind}"] = joined[width:]
    if found.get(_POSITIONS, torch.empty(0)).dim() == 2:
        found[_POSITIONS] = found[_POSITIONS][None]
    return found


def _of_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate transformers' CLIP: other names, and three projections where open_clip has one."""
    found = {_renamed(name, _RENAMED): value for name, value in state.items()}
    _join_projections(found)
    for theirs, ours in (("visual_projection.weight", "visual.proj"),
                         ("text_projection.weight", "text_projection")):
        if theirs in found:
            found[ours] = found.pop(theirs).T.contiguous()
    return found


def _of_eva(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate EVA-CLIP's image tower; tables of rotary positions follow from the grid."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith((".rope.freqs_cos", ".rope.freqs_sin")):
            continue
        renamed = _renamed(name, _RENAMED_EVA) if name.startswith("visual.") else name
        # Towers whose queries, keys and values are one layer keep the biases beside it.
        apart = renamed.replace("q_proj.bias", "q_bias").replace("v_proj.bias", "v_bias")
        found[apart if renamed not in wanted and apart in wanted else renamed] = value
    return found


def _renamed(name: str, table: Iterable[tuple[str, str]]) -> str:
    """Return the name after the replacements of a table, one after the other."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def _join_projections(found: dict[str, Tensor]) -> None:
    """Make one layer of queries, keys and values that are three: timm's, or torch's attention."""
    for name in [name for name in found if ".attn.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if all(part in found for part in parts):
            joined = name.replace("q_proj.", "qkv.") if ".trunk." in name \
                else name.replace(".q_proj.", ".in_proj_")
            found[joined] = torch.cat([found.pop(part) for part in parts])


def _refuse_image_tower(found: Iterable[str], wanted: Mapping[str, Tensor]) -> None:
    names = set(found)
    image = {name for name in wanted if name.startswith("visual.")}
    bare = {name.removeprefix("visual.") for name in image}
    if names and (names - {"logit_scale"} <= image or names <= bare):
        raise LayoutError("it holds the image tower alone, and words need the text tower that it "
                          "was trained with; give the checkpoint that it was taken from, with "
                          "both towers")
