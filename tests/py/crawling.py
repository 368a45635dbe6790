"""A simulated time-lapse whose truth is known: cells crawl, grow, round up, divide, die, enter and leave; the stage jitters and
jumps; the segmentation is imperfect. Labels through time are true identities."""

from dataclasses import dataclass, field
from math import hypot, inf

import cv2
import numpy as np

MARGIN = 0.5


@dataclass
class Cell:
    id: int
    mother: int
    place: np.ndarray
    size: float
    angle: float
    stretch: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    frames_to_division: int | None = None


@dataclass
class Movie:
    """Of each frame: true labels, what a segmentation shows (labels of its own), and by how much the stage moved."""

    truth: list[np.ndarray]
    seen: list[np.ndarray]
    drift: list[np.ndarray]
    mothers: dict[int, int]


@dataclass
class Simulation:
    seed: int
    shape: tuple[int, int] = (480, 560)
    cells: int = 170
    radius: float = 13
    step: float = 2.0
    frames: int = 30
    divides: float = 0.012
    dies: float = 0.001
    unseen: float = 0.01
    cut: float = 0.001
    jumps: tuple[int, ...] = (17,)

    def movie(self) -> Movie:
        self.random = np.random.default_rng(self.seed)
        self.next_id, self.stage = 1, np.zeros(2)
        self.mothers = {}
        self.living: list[Cell] = []
        size = np.array(self.shape[::-1])
        for _ in range(60 * self.cells):
            place = self.random.uniform(-MARGIN * size, (1 + MARGIN) * size)
            area = self.random.uniform(0.6, 1.3)
            if len(self.living) < self.cells and self.closeness(place, area) > 0.95:
                self.add(0, place, area)
        movie = Movie([], [], [], self.mothers)
        for frame in range(self.frames):
            drift = self.random.normal(0, 1.0, 2) if frame else np.zeros(2)
            if frame in self.jumps:
                drift = self.random.choice([-1, 1], 2) * self.random.uniform(60, 130, 2)
            self.stage = self.stage + drift
            self.crawl()
            self.divide()
            truth = self.drawn()
            movie.truth.append(truth)
            movie.seen.append(self.segmented(truth))
            movie.drift.append(drift)
        return movie

    def add(self, mother: int, place, size: float):
        self.living.append(
            Cell(self.next_id, mother, np.array(place), size, self.random.uniform(0, np.pi), self.random.uniform(1, 1.3))
        )
        self.mothers[self.next_id] = mother
        self.next_id += 1

    def closeness(self, place, size: float, but: Cell | None = None) -> float:
        """Of the distance at which two cells touch, to the nearest other."""
        x, y = place
        reach = self.radius * size**0.5
        distances = (
            hypot(cell.place[0] - x, cell.place[1] - y) / (reach + self.radius * cell.size**0.5)
            for cell in self.living
            if cell is not but
        )
        return min(distances, default=inf)

    def crawl(self):
        for cell in self.living:
            velocity = 0.5 * cell.velocity + 0.85 * self.random.normal(0, self.step, 2)
            goal = cell.place + velocity
            free = self.closeness(goal, cell.size, cell)
            cell.velocity = np.zeros(2)
            if free >= 1 or free >= self.closeness(cell.place, cell.size, cell):
                cell.place, cell.velocity = goal, velocity
            cell.size = min(cell.size * 1.004, 1.3)
            cell.angle += self.random.uniform(-0.1, 0.1)

    def divide(self):
        for cell in list(self.living):
            if self.random.random() < self.dies:
                self.living.remove(cell)
            elif cell.frames_to_division is None:
                if cell.size > 0.8 and self.random.random() < self.divides:
                    cell.frames_to_division, cell.stretch = 2, 1.0
                    cell.size *= 0.8
            elif cell.frames_to_division > 0:
                cell.frames_to_division -= 1
            else:
                self.living.remove(cell)
                angle = self.random.uniform(0, 2 * np.pi)
                size = cell.size * 0.55
                way = self.radius * np.sqrt(size) * self.random.uniform(1, 1.25) * np.array([np.cos(angle), np.sin(angle)])
                self.add(cell.id, cell.place + way, size)
                self.add(cell.id, cell.place - way, size * self.random.uniform(0.85, 1.15))

    def drawn(self) -> np.ndarray:
        truth = np.zeros(self.shape, np.uint16)
        for cell in self.living:
            radius = self.radius * np.sqrt(cell.size)
            place = cell.place + self.stage
            window = around(place, place, 2 * radius, self.shape)
            if truth[window].size == 0:
                continue
            rows, columns = np.mgrid[window]
            x, y = columns + 0.5 - place[0], rows + 0.5 - place[1]
            along = x * np.cos(cell.angle) + y * np.sin(cell.angle)
            across = y * np.cos(cell.angle) - x * np.sin(cell.angle)
            inside = (along / cell.stretch) ** 2 + (across * cell.stretch) ** 2 <= radius**2
            truth[window][inside & (truth[window] == 0)] = cell.id
        labels, areas = np.unique(truth, return_counts=True)
        truth[np.isin(truth, labels[areas < 30])] = 0
        return truth

    def segmented(self, truth: np.ndarray) -> np.ndarray:
        """Edges off by a pixel or two, some cells unseen, some cut in two; labels in no order."""
        seen = np.zeros_like(truth)
        kernel = np.ones((3, 3), np.uint8)
        label = 1
        for id in self.random.permutation(np.unique(truth)[1:]):
            if self.random.random() < self.unseen:
                continue
            rows, columns = np.nonzero(truth == id)
            window = around((columns.min(), rows.min()), (columns.max(), rows.max()), 4, self.shape)
            cell = (truth[window] == id).astype(np.uint8)
            match self.random.integers(3):
                case 0:
                    cell = cv2.erode(cell, kernel)
                case 1:
                    cell = cv2.dilate(cell, kernel)
                case 2:
                    rough = cv2.GaussianBlur(self.random.normal(0, 1, cell.shape), (0, 0), 2)
                    smooth = cv2.GaussianBlur(cell.astype(np.float64), (0, 0), 1.5)
                    cell = cv2.dilate(cell, kernel) & (smooth + rough > 0.5)
            free = (cell > 0) & (seen[window] == 0)
            if free.sum() < 20:
                continue
            seen[window][free] = label
            label += 1
            if self.random.random() < self.cut:
                columns = np.nonzero(free)[1]
                seen[window][free & (np.arange(free.shape[1]) < np.median(columns))] = label
                label += 1
        return seen


def around(least, most, margin: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The pixels of an image from `least` to `most`, both x and y, and a margin; perhaps none."""
    start, stop = (np.array(least) - margin).astype(int), (np.array(most) + margin + 1).astype(int)
    side = lambda axis, length: slice(min(max(start[axis], 0), length), min(max(stop[axis], 0), length))  # noqa: E731
    return side(1, shape[0]), side(0, shape[1])
