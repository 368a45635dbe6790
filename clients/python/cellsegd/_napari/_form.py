"""The fields of the widget, and the options that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from cellsegd import contract
from cellsegd.options import Options

from ._micromanager import MICRO_MANAGER

DEFAULT_URL = "http://127.0.0.1:50051"
# Per cent, where neither model nor file says another.
DEFAULT_CONFIDENCE = 35


class Form:
    """Fills `window` with fields. What they mean is said in their tooltips."""

    def __init__(self, window: QWidget):
        self._loaded = Options()
        self.url = QLineEdit(DEFAULT_URL)
        self.url.setToolTip("unix:///PATH, http://HOST:PORT, or https://HOST:PORT")
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setToolTip("what `cellsegd pair` printed; none on this machine")
        self.connect_button = QPushButton("Connect")
        self.model = QComboBox()
        self.source = QComboBox()
        self.source.currentTextChanged.connect(lambda _: self._show_what_fits())
        self.channels = QLineEdit()
        self.channels.setPlaceholderText("Phase: cells, GFP: on Phase")
        self.channels.setToolTip("which model segments each channel, or in whose cells it is measured; empty for one channel")
        self.pixel_size = QDoubleSpinBox()
        self.pixel_size.setDecimals(4)
        self.pixel_size.setRange(0, 1000)
        self.pixel_size.setSpecialValueText("unknown")
        self.pixel_size.setSuffix(" um")
        self.track = QCheckBox("follow cells through time")
        self.confidence = QSlider(Qt.Orientation.Horizontal)
        self.confidence.setRange(0, 100)
        self.confidence.setToolTip("hides what is shown at once; Apply tells the daemon")
        self._confidence_text = QLabel()
        self.confidence.setValue(DEFAULT_CONFIDENCE)
        self.show_confidence()
        self.frame_button = QPushButton("This frame")
        self.stack_button = QPushButton("All frames")
        self.stop_button = QPushButton("Stop")
        self.apply_button = QPushButton("Apply")
        self.apply_button.setToolTip("the confidence holds for the session from the next frame on")
        self.save_button = QPushButton("Save ...")
        self.load_button = QPushButton("Load ...")
        self.status = QLabel("not connected")
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._lay_out(window)

    def _lay_out(self, window: QWidget) -> None:
        rows = QFormLayout()
        rows.addRow("Daemon", self.url)
        rows.addRow("Token", self.token)
        rows.addRow("", self.connect_button)
        rows.addRow("Model", self.model)
        rows.addRow("Images", self.source)
        rows.addRow("Channels", self.channels)
        self._rows = rows
        rows.addRow("Pixel size", self.pixel_size)
        rows.addRow("Tracks", self.track)
        rows.addRow("Confidence", beside(self.confidence, self._confidence_text, self.apply_button))
        rows.addRow("Segment", beside(self.frame_button, self.stack_button, self.stop_button))
        rows.addRow("Options", beside(self.save_button, self.load_button))
        whole = QVBoxLayout(window)
        whole.addLayout(rows)
        whole.addWidget(self.status)
        whole.addStretch()

    def _show_what_fits(self) -> None:
        """An image has frames; Micro-Manager has channels, and a beginning."""
        from_core = self.source.currentText() in MICRO_MANAGER
        self._rows.setRowVisible(self.channels, self.source.currentText() == MICRO_MANAGER[0])
        self._rows.setRowVisible(self.pixel_size, not from_core)
        self.frame_button.setVisible(not from_core)
        self.stack_button.setText("Listen" if from_core else "All frames")

    def say(self, text: str) -> None:
        """In the status line."""
        self.status.setStyleSheet("")
        self.status.setText(text)

    def complain(self, text: str) -> None:
        """In the status line, so that it is seen."""
        self.status.setStyleSheet("color: #e05050")
        self.status.setText(text)

    def show_models(self, models: Sequence[contract.Model]) -> None:
        """Those of the daemon, its default first."""
        chosen = self.model.currentText()
        self.model.clear()
        for model in models:
            self.model.addItem(model.name)
        self._choose(chosen)

    def _choose(self, model: str) -> None:
        if model and self.model.findText(model) < 0:
            self.model.addItem(model)
        self.model.setCurrentIndex(max(0, self.model.findText(model)))

    def show_sources(self, images: Sequence[str]) -> None:
        """Image layers, then Micro-Manager."""
        chosen = self.source.currentText()
        self.source.blockSignals(True)
        self.source.clear()
        self.source.addItems([*images, *MICRO_MANAGER])
        self.source.setCurrentIndex(max(0, self.source.findText(chosen) if chosen in images else 0))
        self.source.blockSignals(False)
        self._show_what_fits()

    def confidence_value(self) -> float:
        """0..1."""
        return float(self.confidence.value() / 100)

    def show_confidence(self) -> None:
        """Its number beside the slider."""
        self._confidence_text.setText(f"{self.confidence_value():.2f}")

    def options(self) -> Options:
        """What was loaded, with what the fields say."""
        return replace(
            self._loaded,
            model=self.model.currentText(),
            confidence=self.confidence_value(),
            track=self._loaded.track or True if self.track.isChecked() else False,
        )

    def show_options(self, options: Options) -> None:
        """In the fields, as far as they go; the rest is kept."""
        self._loaded = options
        self._choose(options.model)
        self.track.setChecked(options.track is not False)
        if options.confidence is not None:
            self.confidence.setValue(round(options.confidence * 100))

    def metadata(self, position: str) -> dict[str, Any]:
        """Of the frames of an image layer."""
        size = self.pixel_size.value()
        return {"position": position} | ({"pixel_size_um": size} if size else {})


def beside(*widgets: QWidget) -> QWidget:
    """In one row."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return holder
