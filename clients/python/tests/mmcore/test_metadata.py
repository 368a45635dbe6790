"""What the core says of a frame, in the contract's words and conventions."""

import numpy as np
import pytest
import useq

from cellsegd.mmcore._metadata import Camera, about_the_middle, agrees, frame_metadata


class Core:
    """As much of a core as is asked."""

    def __init__(self, binning="2", affine=(1.3, 0, 0, 0, 1.3, 0)):
        self.binning, self.affine = binning, affine

    def getCameraDevice(self):
        return "Camera"

    def getImageBitDepth(self):
        return 12

    def hasProperty(self, device, name):
        return self.binning is not None

    def getProperty(self, device, name):
        return self.binning

    def getPixelSizeAffine(self):
        return self.affine


SUMMARY = {"image_infos": ({"camera_label": "Camera", "width": 200, "height": 100, "pixel_size_um": 1.3, "roi": (8, 4, 200, 100)},)}


def test_a_frame_is_described():
    camera = Camera.of(Core(), SUMMARY)
    event = useq.MDAEvent(
        index={"t": 3, "p": 1, "c": 0}, channel="Phase", pos_name="B", x_pos=10, y_pos=20, z_pos=30, exposure=12.5
    )
    meta = {
        "runner_time_ms": 1500.0,
        "position": {"x": 10.5, "y": 20.25},
        "property_values": ({"dev": "D", "prop": "P", "val": "V"},),
    }
    told = frame_metadata(event, meta, camera, started_at=1000.0)
    assert dict(told.index) == {"t": 3, "p": 1, "c": 0}
    assert (told.channel, told.position, told.camera) == ("Phase", "B", "Camera")
    # Where the stage was, else where it was sent.
    assert (told.x_um, told.y_um, told.z_um) == (10.5, 20.25, 30)
    assert (told.exposure_ms, told.pixel_size_um, told.binning) == (12.5, 1.3, 2)
    # The region in camera pixels, as the contract has it.
    assert (told.roi_x, told.roi_y) == (16, 8)
    assert (told.elapsed_ms, told.captured_at.ToNanoseconds()) == (1500.0, 1001_500_000_000)
    assert dict(told.properties) == {"D-P": "V"}
    assert camera.significant_bits == 12


def test_the_affine_is_moved_to_the_corner_so_that_the_middle_is_where_the_stage_is():
    a, b, c, d, e, f = about_the_middle((0, -1.3, 0, 1.3, 0, 0), 200, 100)
    assert np.allclose([a * 100 + b * 50 + c, d * 100 + e * 50 + f], 0)
    assert np.allclose([a * 110 + b * 50 + c, d * 110 + e * 50 + f], [0, 13])
    assert Camera.of(Core(), SUMMARY).pixel_to_stage == pytest.approx((1.3, 0, -130, 0, 1.3, -65))


def test_an_affine_that_nobody_calibrated_says_nothing():
    assert agrees((0.65, 0, 0, 0, -0.65, 0), 0.65) and agrees((0, 0.65, 0, 0.65, 0, 0), 0.65)
    assert not agrees((1, 0, 0, 0, 1, 0), 0.65) and not agrees((1, 0, 0, 0, 1, 0), None)
    assert Camera.of(Core(affine=(1, 0, 0, 0, 1, 0)), SUMMARY).pixel_to_stage is None
    assert Camera.of(Core(affine=(1, 0, 0, 0, 1, 0)), SUMMARY, (1.3, 0, 0, 0, -1.3, 0)).pixel_to_stage is not None
    with pytest.raises(ValueError, match="5 numbers"):
        Camera.of(Core(), SUMMARY, (1, 2, 3, 4, 5))


@pytest.mark.parametrize(("told", "is_"), [("1", 1), ("4x4", 4), ("2x1", None), ("fast", None), (None, None)])
def test_binning_is_a_number_where_the_camera_gives_one(told, is_):
    assert Camera.of(Core(binning=told), SUMMARY).binning == is_


def test_positions_of_a_well_plate_name_their_well():
    plan = useq.WellPlatePlan(plate="96-well", a1_center_xy=(0, 0), selected_wells=([1], [2]))
    event = next(iter(useq.MDASequence(stage_positions=plan)))
    told = frame_metadata(event, {}, Camera(), 0)
    assert told.well == "B3" and "96" in told.plate
