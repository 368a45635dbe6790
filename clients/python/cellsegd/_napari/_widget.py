"""The widget: which daemon, which model, which images; a slider for the confidence; what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QWidget

from cellsegd import contract
from cellsegd.options import Options
from cellsegd.result import Result

from ._desk import Desk
from ._form import Form
from ._labels import count_above, labels_above
from ._micromanager import MICRO_MANAGER, listen
from ._source import Place, Stack

if TYPE_CHECKING:
    import napari

LAYER = "cells"
# Answers of a stack that are kept, so that the slider acts on frames that were left.
KEPT = 512


class CellsegdWidget(QWidget):  # type: ignore[misc]
    """A daemon's cells as a labels layer."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.form = Form(self)
        self.desk = Desk()
        self._results: dict[Place, Result] = {}
        self._settled: contract.SessionOptions | None = None
        self._connect_form()
        self._connect_desk()
        self._list_layers()

    def _connect_form(self) -> None:
        form, layers = self.form, self.viewer.layers.events
        form.connect_button.clicked.connect(lambda: self._connect())
        form.frame_button.clicked.connect(lambda: self._segment(all_frames=False))
        form.stack_button.clicked.connect(lambda: self._segment(all_frames=True))
        form.stop_button.clicked.connect(lambda: self.desk.stop())
        form.confidence.valueChanged.connect(lambda _: self._filter())
        form.apply_button.clicked.connect(lambda: self.desk.update(form.confidence_value()))
        form.save_button.clicked.connect(lambda: self._save())
        form.load_button.clicked.connect(lambda: self._load())
        for event in (layers.inserted, layers.removed, layers.reordered):
            event.connect(self._list_layers)
        self.viewer.dims.events.current_step.connect(self._count)

    def _connect_desk(self) -> None:
        desk = self.desk
        desk.connected.connect(self._connected)
        desk.opened.connect(self._opened)
        desk.answered.connect(self._answered)
        desk.done.connect(self.form.say)
        desk.failed.connect(self.form.complain)

    def closeEvent(self, event: Any) -> None:
        """The session ends with the window."""
        self.viewer.dims.events.current_step.disconnect(self._count)
        self.desk.close()
        super().closeEvent(event)

    def options(self) -> Options:
        """As the form has them."""
        return self.form.options()

    def _connect(self) -> None:
        self.form.say("connecting ...")
        self.desk.connect_to(self.form.url.text().strip(), self.form.token.text().strip())

    def _connected(self, models: list[contract.Model]) -> None:
        self.form.show_models(models)
        self.form.say(f"connected: {', '.join(model.name for model in models)}")

    def _opened(self, opened: contract.SessionOpened) -> None:
        self._settled = opened.settled
        self.form.say(f"{opened.model.name} on {opened.device}")

    def _list_layers(self, _event: object = None) -> None:
        images = [layer.name for layer in self.viewer.layers if layer._type_string == "image"]
        self.form.show_sources(images)

    def _segment(self, all_frames: bool) -> None:
        name = self.form.source.currentText()
        if name in MICRO_MANAGER:
            channels, options = self.form.channels.text(), self.options()
            self._results.clear()
            self.desk.watch(lambda client: listen(name, client, channels, options))
            return
        if name not in self.viewer.layers:
            self.form.complain("open an image first")
            return
        try:
            stack = Stack.of(self.viewer.layers[name])
            places = stack.places() if all_frames else [stack.shown(self.viewer.dims.current_step)]
            if all_frames:
                self._results.clear()
            self.desk.segment(stack, places, self.options(), self.form.metadata(name))
        except (ValueError, IndexError) as error:
            self.form.complain(str(error))

    def _answered(self, result: Result, place: Place) -> None:
        if result.outcome != "segmented":
            self.form.complain(f"frame {place or result.id} {result.outcome}: {result.reason}")
            return
        if len(self._results) >= KEPT:
            self._results.pop(next(iter(self._results)))
        self._results[place] = result
        self._show(place, result)
        notices = "; ".join(text for _, text in result.notices)
        total = result.timing_ms["total"]
        self.form.say(f"{self._counted(result)} in {total:.0f} ms{'. ' + notices if notices else ''}")

    def _show(self, place: Place, result: Result) -> None:
        labels = labels_above(result, self.form.confidence_value())
        layer = self._layer(place, labels.shape)
        layer.data[place] = labels
        layer.refresh()

    def _layer(self, place: Place, frame: tuple[int, ...]) -> Any:
        """The labels layer, made anew only where frames have another shape."""
        leading: tuple[int, ...] = ()
        source = self.form.source.currentText()
        image = self.viewer.layers[source] if source in self.viewer.layers else None
        if image is not None and place:
            leading = Stack.of(image).leading
        shape = (*leading, *frame)
        if LAYER in self.viewer.layers:
            layer = self.viewer.layers[LAYER]
            if layer.data.shape == shape:
                return layer
            layer.data = np.zeros(shape, np.int32)
        else:
            layer = self.viewer.add_labels(np.zeros(shape, np.int32), name=LAYER, opacity=0.5)
        if image is not None and len(shape) == image.ndim:
            layer.scale, layer.translate = image.scale, image.translate
        return layer

    def _filter(self) -> None:
        """Answers that are here are filtered here; what lies below the session's own confidence was never sent."""
        self.form.show_confidence()
        for place, result in self._results.items():
            self._show(place, result)
        self._count()
        settled = self._settled
        if settled is not None and self.form.confidence_value() < settled.thresholds.confidence - 0.005:
            self.form.say(
                f"cells below {settled.thresholds.confidence:.2f} were not sent: Apply asks for them from the next frame on"
            )

    def _count(self, _event: object = None) -> None:
        place: Place = ()
        source = self.form.source.currentText()
        if source in self.viewer.layers:
            place = Stack.of(self.viewer.layers[source]).shown(self.viewer.dims.current_step)
        result = self._results.get(place)
        if result is not None:
            self.form.say(self._counted(result))

    def _counted(self, result: Result) -> str:
        return f"{count_above(result, self.form.confidence_value())} of {len(result.cells)} cells"

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the options", "cellsegd.toml", "Options (*.toml)")
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """TOML that `cellsegd segment --options` and `Options.load` read."""
        try:
            self.options().save(path)
            self.form.say(f"saved {path}")
        except (OSError, ValueError, TypeError) as error:
            self.form.complain(str(error))

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load options", "", "Options (*.toml)")
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """What `save` wrote; what the form has no place for is kept and sent too."""
        try:
            self.form.show_options(Options.load(path))
            self.form.say(f"loaded {path}")
        except (OSError, ValueError, TypeError) as error:
            self.form.complain(str(error))
