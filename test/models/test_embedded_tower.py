"""The embedded model's image tower: patches of 16 pixels, of any grid, that begin simply."""

import open_clip
import pytest
import torch
from timm.models import create_model

from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.models.embedded.tower import DEPTH, NAME, WIDTH, Residual, Stem
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.families import backbone_of


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32")


def test_timm_builds_it_by_name():
    tower = create_model(NAME, num_classes=0)
    assert len(tower.blocks) == DEPTH and tower.embed_dim == WIDTH
    assert tower(torch.zeros(1, 3, 224, 224)).shape == (1, WIDTH)


@pytest.mark.parametrize("height, width", [(224, 224), (64, 160), (16, 16)])
def test_convolutions_lead_to_one_vector_a_patch(height, width):
    patches = Stem().eval()(torch.zeros(2, 3, height, width))
    assert patches.shape[0] == 2 and patches.shape[2:] == (height // 16, width // 16)


def test_a_block_begins_as_its_short_cut():
    """So that depth costs no learning; what the convolutions add is scaled by 0 at first."""
    block = Residual(8, 8, 1).eval()
    seen = torch.rand(1, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(seen), seen)


def test_a_picture_is_a_batch_of_its_own(segmentor):
    """Batch norm goes by what training gathered, not by what happens to be in the batch."""
    pair = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    backbone = segmentor.backbone
    together, alone = backbone.penultimate(pair), backbone.penultimate(pair[:1])
    first, again = (backbone.last_block(seen, attention_rule("sclip"))[:1]
                    for seen in (together, alone))
    assert torch.allclose(first, again, atol=1e-4)


def test_its_configuration_names_it():
    model = open_clip.create_model(f"local-dir:{EMBEDDED_FOLDER}", load_weights=False)
    assert backbone_of(model.visual).depth == DEPTH
    assert backbone_of(model.visual).patch_size == 16
