"""The napari plugin: a widget that shows a daemon's cells as a labels layer. napari finds it by `napari.yaml`."""

from ._widget import CellsegdWidget

__all__ = ["CellsegdWidget"]
