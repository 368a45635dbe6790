"""What crops are made of; kept in the checkpoint."""

from dataclasses import dataclass

from cellnet.contract import INPUT


@dataclass(frozen=True)
class Mix:
    """What crops are made of."""

    side: int = 288
    seed: int = 0
    cells_of_8: int = 5
    """Of 8 crops in a row so many are of class 0; the rest are nuclei."""
    nothing: float = 0.07
    """Share of crops with nothing to find."""
    input: int = INPUT
    """Side of the letterbox that the model is made for."""
    near: float = 0.5
    """Share of crops near the letterbox's own scale; the others show other pixel sizes."""
    changed: float = 1.0
    """Of how often light, focus and noise are changed."""
