"""What network, data and daemon agree on. No PyTorch here: whoever only prepares or measures does without it."""

STRIDES = (8, 16, 32)
"""Of the anchors."""

PROTOTYPE_STRIDE = 4

CLASSES = ("cell", "nucleus")

INPUT = 640
"""Side of the letterbox that the model is mostly used with."""

FILL = 114 / 255
"""What the daemon's letterbox puts around a frame."""

SHOWN = (0.5, 99.5)
"""Percentiles of a frame that become 0 and 1."""

MIN_SPAN_OF_FULL_RANGE = 0.006
"""Percentiles closer than this share of the camera's range are not stretched."""

SHAPE = "cellnet.shape"
"""Under which an ONNX file's metadata says what its network is made of."""

BEGAN_WITH = "cellsegd.began_with"
"""Under which they say the sha256 of the file that training began with."""
