"""Who answers for what, and what is made small."""

import numpy as np
import pytest
import torch
from cellnet.assign import TOP, assign, candidates_of, iou, within
from cellnet.batch import batch_of
from cellnet.contract import PROTOTYPE_STRIDE
from cellnet.crops import Crop, crop_of
from cellnet.loss import Weights, diou, generous, inside, losses, masks, pick
from cellnet.network import SHAPES, Network, Raw, anchors
from cellnet.pack import Entry, Sample

SIDE = 96


def crop(labels: np.ndarray, class_index: int = 0) -> Crop:
    """A crop whose image shows its labels."""
    image = (0.2 + 0.6 * (labels > 0)).astype(np.float32)
    areas = np.bincount(labels.ravel())
    return crop_of(image, labels, Sample(Entry("a", "b", class_index, 0, 1, "a"), image, labels, areas))


@pytest.fixture
def two_cells() -> Crop:
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[8:40, 8:48] = 1
    labels[56:88, 60:84] = 2
    return crop(labels)


def perfect(batch) -> Raw:
    """What a network would say that knows it all: a prototype for each cell."""
    centres, strides = anchors(SIDE, SIDE)
    wanted = generous(batch.boxes, Weights())
    n, small = len(centres), SIDE // PROTOTYPE_STRIDE
    distances = torch.ones(1, n, 4)
    logits = torch.full((1, n, 2), -12.0)
    coefficients = torch.zeros(1, n, 32)
    prototypes = torch.zeros(1, 32, small, small)
    candidates = within(candidates_of(batch.coverage, batch.classes), wanted, centres)
    for i in range(batch.boxes.shape[1]):
        own = candidates[0, i]
        box = wanted[0, i]
        distances[0, own] = torch.cat([centres[own] - box[:2], box[2:] - centres[own]], 1) / strides[own, None]
        # No more anchors speak up for a cell than are asked to.
        logits[0, own.nonzero()[:TOP, 0], batch.classes[0, i]] = 12.0
        coefficients[0, own, i] = 1.0
        prototypes[0, i] = torch.where(batch.coverage[0, i] > 8, 30.0, -30.0)
    dense = torch.stack([(batch.coverage.sum(1) > 8) * 60.0 - 30.0, batch.edges * 60.0 - 30.0], 1)
    return Raw(distances, logits, coefficients, prototypes, dense)


def test_overlap_of_boxes():
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert torch.allclose(iou(a, b), torch.tensor([1.0, 1 / 3, 0.0]))
    assert torch.allclose(diou(a, b), torch.tensor([1.0, 1 / 3 - 25 / 325, -400 * 2 / 1800]))


def test_only_anchors_that_see_a_cell_answer_for_it(two_cells):
    batch = batch_of([two_cells])
    candidates = candidates_of(batch.coverage, batch.classes)
    centres, strides = anchors(SIDE, SIDE)
    of_stride_8 = (strides == 8) & candidates[0, 0]
    assert sorted(map(tuple, centres[of_stride_8].tolist())) == sorted(
        (x + 4.0, y + 4.0) for x in range(8, 48, 8) for y in range(8, 40, 8)
    )
    raw = perfect(batch)
    boxes = torch.rand(1, len(centres), 4) * 0.1
    assigned = assign(raw.logits.sigmoid(), boxes, batch.boxes, batch.classes, candidates)
    assert set(assigned.instance.tolist()) == {0, 1}, "also where no box overlaps yet"
    assert candidates[0, assigned.instance, assigned.anchor].all()
    assert len(set(assigned.anchor.tolist())) == len(assigned.anchor), "an anchor answers for one cell"
    best = [float(assigned.alignment[assigned.instance == i].max()) for i in (0, 1)]
    assert best == [1.0, 1.0]


def test_an_anchor_outside_the_wanted_box_is_no_candidate():
    centres = torch.tensor([[4.0, 4.0], [12.0, 4.0], [16.0, 16.0]])
    wanted = torch.tensor([[[1.0, 1.0, 9.0, 9.0], [17.0, 1.0, 30.0, 9.0], [0.0, 0.0, 0.0, 0.0]]])
    candidates = torch.tensor([[[True, True, True], [False, True, True], [False, False, False]]])
    assert within(candidates, wanted, centres).tolist() == [
        [[True, False, False], [False, True, True], [False, False, False]]
    ], "one that has none inside keeps what it had"


def test_no_cell_is_left_without_an_anchor_while_one_is_free():
    # Four cells want the same box; what the first does not need goes to the others, in turn.
    wanted = torch.tensor([[[0.0, 0.0, 8.0, 8.0]] * 4 + [[0.0, 0.0, 0.0, 0.0]]])
    classes = torch.tensor([[0, 0, 0, 0, -1]])
    n_anchors = 13
    boxes = torch.tensor([0.0, 0.0, 8.0, 8.0]).expand(1, n_anchors, 4).clone()
    boxes[0, TOP:, 2] = 1.0
    scores = torch.full((1, n_anchors, 2), 0.5)
    candidates = (classes >= 0)[:, :, None].expand(-1, -1, n_anchors)
    assigned = assign(scores, boxes, wanted, classes, candidates)
    assert [(assigned.instance == i).sum() for i in range(5)] == [TOP, 1, 1, 1, 0]
    assert sorted(assigned.anchor.tolist()) == list(range(n_anchors))
    assert assigned.alignment[assigned.instance > 0].tolist() == [1.0] * 3


def test_an_answer_without_fault_costs_nothing(two_cells):
    batch = batch_of([two_cells])
    parts = losses(perfect(batch), batch, Weights())
    assert max(float(value) for value in vars(parts).values()) < 0.02, parts


@pytest.mark.parametrize("part", ["score", "box", "mask", "dice", "dense"])
def test_each_fault_has_its_price(two_cells, part):
    batch = batch_of([two_cells])
    raw = perfect(batch)
    before = vars(losses(raw, batch, Weights()))
    if part == "score":
        raw.logits[0, 0] = 3.0
    elif part == "box":
        raw.distances *= 1.3
    elif part == "dense":
        raw.dense[0, 0, :4] *= -1
    else:
        raw.prototypes[0, :, :, 6:9] *= -1
    after = vars(losses(raw, batch, Weights()))
    assert after[part] > before[part] + 0.02, (before, after)


def test_a_score_is_wanted_to_be_the_iou_of_the_mask(two_cells):
    batch = batch_of([two_cells])
    raw = perfect(batch)
    # Half of the first cell's mask is lost: then a score of a half is right, and one of 1 is not.
    raw.prototypes[0, 0, :, 7:] = -30.0
    sure = losses(raw, batch, Weights()).score
    raw.logits[0, candidates_of(batch.coverage, batch.classes)[0, 0], 0] = 0.0
    assert losses(raw, batch, Weights()).score < sure


def test_an_empty_field_teaches_silence():
    batch = batch_of([crop(np.zeros((SIDE, SIDE), np.uint16))])
    network = Network(SHAPES["nano"]).train()
    parts = losses(network(batch.images.expand(-1, 3, -1, -1)), batch, Weights())
    total = parts.total(Weights())
    assert torch.isfinite(total) and parts.score > 0 and parts.box == 0 and parts.mask == 0
    total.backward()


def test_crops_of_different_numbers_of_cells_are_one_batch(two_cells):
    alone, empty = two_cells, crop(np.zeros((SIDE, SIDE), np.uint16))
    batch = batch_of([alone, empty])
    assert batch.boxes.shape == (2, 2, 4) and batch.classes.tolist() == [[0, 0], [-1, -1]]
    assert not candidates_of(batch.coverage, batch.classes)[1].any()


def test_the_best_anchors_of_each_cell_have_their_masks_trained(two_cells):
    batch = batch_of([two_cells])
    raw = perfect(batch)
    boxes = torch.rand(1, raw.logits.shape[1], 4) * 96
    assigned = assign(raw.logits.sigmoid(), boxes, batch.boxes, batch.classes, candidates_of(batch.coverage, batch.classes))
    chosen = pick(assigned, 2)
    for i in (0, 1):
        own = assigned.alignment[assigned.instance == i]
        picked = assigned.alignment[chosen][assigned.instance[chosen] == i]
        assert sorted(picked.tolist()) == sorted(own.tolist())[-2:]


def test_prototype_cells_of_a_box():
    cells = inside(torch.tensor([[4.0, 8.0, 11.0, 12.0]]), (4, 5))[0]
    assert cells.nonzero().tolist() == [[2, 1], [2, 2]]


def test_masks_of_several_crops_at_once():
    prototypes, coefficients = torch.randn(3, 32, 4, 5), torch.randn(4, 32)
    image = torch.tensor([0, 0, 2, 2])
    expected = torch.stack([torch.einsum("k,khw->hw", c, prototypes[i]) for c, i in zip(coefficients, image, strict=True)])
    assert torch.allclose(masks(prototypes, coefficients, image), expected, atol=1e-5)
