"""Which channel goes where, and what is said of a mapping that does not fit."""

import pytest
import useq

from cellsegd import Options
from cellsegd.mmcore import measure
from cellsegd.mmcore._plan import Plan, channels_of


def test_one_session_a_model():
    plan = Plan({"Phase": "cells", "BF": "cells", "DAPI": "nuclei", "GFP": measure("Phase"), "Cy5": None}, Options())
    assert [each.model for each in plan.sessions] == ["cells", "nuclei"]
    assert [plan.session(name) for name in ("Phase", "BF", "DAPI", "GFP", "Cy5")] == [0, 0, 1, None, None]
    assert plan.measured_on("GFP") == "Phase" and plan.measured_on("Phase") is None


def test_options_of_its_own_for_a_channel():
    plan = Plan({"Phase": "cells", "DAPI": Options(model="cells", confidence=0.9)}, Options(track=True))
    assert [(each.model, each.confidence, each.track) for each in plan.sessions] == [("cells", None, True), ("cells", 0.9, False)]


@pytest.mark.parametrize(
    ("channels", "error", "says"),
    [
        (
            {"Phase": "cells", "GFP": measure("Phsae")},
            ValueError,
            "'GFP' is measured on 'Phsae', which is not segmented; segmented: 'Phase'",
        ),
        ({"GFP": measure("GFP")}, ValueError, "segmented: none"),
        ({"Phase": 3}, TypeError, "'Phase'.*int"),
        ({"Phase": None}, ValueError, "no channel of"),
        ({}, ValueError, "no channel of"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(channels, error, says):
    with pytest.raises(error, match=says):
        Plan(channels, Options())


def test_a_run_of_several_channels_needs_a_mapping_and_every_channel_in_it():
    with pytest.raises(ValueError, match="channels DAPI, FITC: say what becomes of each"):
        Plan(None, Options()).check(["DAPI", "FITC"])
    with pytest.raises(ValueError, match="nothing was said of FITC"):
        Plan({"DAPI": "nuclei"}, Options()).check(["DAPI", "FITC"])
    Plan(None, Options()).check(["DAPI"])
    Plan({"DAPI": "nuclei", "FITC": None}, Options()).check(["DAPI", "FITC"])


def test_channels_of_a_position_count():
    inner = useq.MDASequence(channels=["Cy5"])
    sequence = useq.MDASequence(channels=["DAPI"], stage_positions=[useq.Position(x=0, y=0, sequence=inner), (1, 1, 0)])
    assert channels_of(sequence) == ["DAPI", "Cy5"]
