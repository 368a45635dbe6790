"""Writes stacks/: small TIFF stacks as tifffile, ImageJ, Micro-Manager and NIS-Elements write them. Every pixel of a page is
1000 p + 100 t + 10 z + c, so that a page says itself which plane it is. Needs numpy, tifffile.
"""

import json
from pathlib import Path

import numpy as np
import tifffile

OUT = Path(__file__).with_name("stacks")
SHAPE = (7, 9)


def planes(t: int, z: int, c: int, dtype=np.uint16) -> np.ndarray:
    """Axes TZC and a small image."""
    t, z, c = np.mgrid[:t, :z, :c]
    return np.broadcast_to((100 * t + 10 * z + c)[..., None, None], (*t.shape, *SHAPE)).astype(dtype)


def ome(size: tuple[int, int, int], order: str, tiff_data: str, extra: str = "", root: str = "") -> str:
    t, z, c = size
    height, width = SHAPE
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {root}><Image ID="Image:0" Name="first">
<Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint16" SizeX="{width}" SizeY="{height}" SizeC="{c}" SizeZ="{z}" SizeT="{t}"
 PhysicalSizeX="325" PhysicalSizeXUnit="nm" PhysicalSizeY="325" PhysicalSizeYUnit="nm">
{"".join(f'<Channel ID="Channel:0:{i}" Name="ch &lt;{i}&gt;" SamplesPerPixel="1"/>' for i in range(c))}{tiff_data}{extra}
</Pixels></Image></OME>"""


def write(name: str, pages: np.ndarray, **how) -> None:
    tifffile.imwrite(OUT / name, pages.reshape(-1, *SHAPE), photometric="minisblack", metadata=None, **how)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    size = (2, 3, 2)
    tifffile.imwrite(
        OUT / "tifffile.ome.tif",
        planes(*size),
        ome=True,
        photometric="minisblack",
        metadata={
            "axes": "TZCYX",
            "PhysicalSizeX": 0.65,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.65,
            "PhysicalSizeYUnit": "µm",
            "TimeIncrement": 2,
            "TimeIncrementUnit": "min",
            "Channel": {"Name": ["Phase", "DAPI"]},
            "Plane": {"PositionX": [12.5] * 12, "PositionXUnit": ["µm"] * 12, "ExposureTime": [0.02] * 12},
        },
    )
    # Every other order, pages in the file's own order, and one named by one.
    stack = planes(*size)
    write(
        "order_zct.ome.tif",
        stack.transpose(0, 2, 1, 3, 4),
        description=ome(size, "XYZCT", "<TiffData/>").encode(),
    )
    named = "".join(
        f'<TiffData IFD="{ifd}" FirstT="{t}" FirstZ="{z}" FirstC="{c}"/>'
        for ifd, (c, t, z) in enumerate(np.ndindex(2, 2, 3))
    )
    timed = '<Plane TheT="1" TheZ="2" TheC="1" DeltaT="1500" DeltaTUnit="ms" PositionZ="3" PositionZUnit="mm"/>'
    write(
        "one_by_one.ome.tif",
        stack.transpose(2, 0, 1, 3, 4),
        description=ome(size, "XYCZT", named, extra=timed).encode(),
        bigtiff=True,
    )
    # Frame 0 is in another file of the set.
    uuid = "urn:uuid:{}".format
    halves = "".join(
        f'<TiffData IFD="{z * 2 + c}" FirstT="{t}" FirstZ="{z}" FirstC="{c}"><UUID FileName="{t}.tif">{uuid(t)}</UUID></TiffData>'
        for t, z, c in np.ndindex(*size)
    )
    write("half.ome.tif", stack[1], description=ome(size, "XYCZT", halves, root=f'UUID="{uuid(1)}"').encode())

    tifffile.imwrite(
        OUT / "imagej.tif",
        planes(*size),
        imagej=True,
        resolution=(4.0, 4.0),
        metadata={"axes": "TZCYX", "unit": "\\u00B5m", "finterval": 30.0},
    )
    # As ImageJ writes what is over 4 GB: one directory for all pages.
    tifffile.imwrite(
        OUT / "imagej_one_directory.tif",
        planes(*size),
        imagej=True,
        truncate=True,
        resolution=(4.0, 4.0),
        metadata={"axes": "TZCYX", "unit": "\\u00B5m"},
    )

    with tifffile.TiffWriter(OUT / "micro_manager.tif") as tif:
        for p, t, c in np.ndindex(2, 2, 2):
            said = {
                "FrameIndex": t,
                "SliceIndex": 0,
                "ChannelIndex": c,
                "PositionIndex": p,
                "Channel": ["BF", "GFP"][c],
                "PositionName": f"Pos{p}",
                "ElapsedTime-ms": 1000.5 * t,
                "Exposure-ms": 10,
                "XPositionUm": -5.25,
                "PixelSizeUm": 0.5,
            }
            text = json.dumps(said).encode()
            tif.write(
                np.full(SHAPE, 1000 * p + 100 * t + c, np.uint16),
                contiguous=False,
                metadata=None,
                extratags=[(51123, 2, len(text) + 1, text, True)],
            )

    nikon = [
        (65325, 12, 1, 14197.888, True),
        (65326, 12, 1, 0.8707951277094507, True),
        (65329, 12, 4, (10355.3, -23906.6, 8075.15, 14197.888), True),
    ]
    write("nikon.tif", planes(1, 1, 1), extratags=nikon)
    write("centimetres.tif", planes(3, 1, 1), resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    write("printer.tif", planes(1, 1, 1), resolution=(300, 300), resolutionunit="INCH")
    write("oblong.tif", planes(1, 1, 1), resolution=(20_000, 10_000), resolutionunit="CENTIMETER")


if __name__ == "__main__":
    main()
