"""Published ids: numbered or chosen, and every list that cannot work refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest

from sclip_seg_ros.segmentation.text.class_ids import POSITIONS, ClassIds


def test_without_ids_labels_are_published_as_they_are_computed():
    labels = np.array([[0, 1, 253], [7, 255, 2]], np.uint8)
    assert POSITIONS.publish(labels) is labels
    assert ClassIds.of(254).publish(labels) is labels


def test_chosen_ids_take_their_classes_place_and_no_other_value_is_published():
    ids = ClassIds.of(3, (7, 200, 1), unlabelled=0)
    labels = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    np.testing.assert_array_equal(ids.publish(labels), [[7, 200, 1], [0, 1, 7]])
    assert set(np.unique(ids.table)) == {0, 1, 7, 200}


@pytest.mark.parametrize(("unlabelled", "expected"), [
    (255, (0, 1, 2, 3)), (0, (1, 2, 3, 4)), (2, (0, 1, 3, 4))])
def test_classes_are_numbered_around_the_unlabelled_id(unlabelled, expected):
    assert ClassIds.of(4, unlabelled=unlabelled).values == expected


def test_as_many_classes_as_a_vocabulary_may_have_can_be_numbered_from_one():
    assert ClassIds.of(254, unlabelled=0).values == tuple(range(1, 255))


@pytest.mark.parametrize(("count", "ids", "unlabelled", "words"), [
    (3, (1, 2), 255, ("3 classes", "2 class_ids")),
    (2, (1, 2, 3), 0, ("2 classes", "3 class_ids")),
    (2, (4, 4), 255, ("4 twice",)),
    (2, (0, 1), 0, ("class_ids has 0", "unlabelled_id")),
    (2, (0, 255), 255, ("class_ids has 255", "unlabelled_id")),
    (2, (1, 256), 0, ("class_ids has 256", "1 to 255")),
    (2, (0, 256), 255, ("class_ids has 256", "0 to 254")),
    (2, (-1, 1), 255, ("class_ids has -1", "0 to 254")),
    (2, (), 256, ("unlabelled_id=256", "0 to 255"))])
def test_ids_that_cannot_work_are_refused_with_what_is_allowed(count, ids, unlabelled, words):
    with pytest.raises(ValueError) as caught:
        ClassIds.of(count, ids, unlabelled)
    for word in words:
        assert word in str(caught.value)
