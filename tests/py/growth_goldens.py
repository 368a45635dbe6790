"""Growth curves and the rates that SciPy finds in them: writes tests/data/growth.json, against which Rust is tested.

Run from anywhere: python tests/py/growth_goldens.py
"""

import json
from math import log
from pathlib import Path

import numpy as np
from scipy.stats import linregress, t

WINDOW_HOURS = 12.0


def case(name: str, hours: np.ndarray, counts: np.ndarray) -> dict:
    counts = counts.round().astype(int)
    inside = hours >= hours[-1] - WINDOW_HOURS
    fitted = inside & (counts > 0)
    line = linregress(hours[fitted], np.log(counts[fitted]))
    low, high = line.slope + np.array([-1, 1]) * t.ppf(0.975, fitted.sum() - 2) * line.stderr
    certain = low > 0 or high < 0
    return {
        "name": name,
        "hours": hours.tolist(),
        "counts": counts.tolist(),
        "points": int(inside.sum()),
        "per_hour": line.slope,
        "doubling_hours": [log(2) / line.slope, log(2) / high, log(2) / low] if certain else None,
    }


def cases() -> list[dict]:
    random = np.random.default_rng(7)
    hours = np.arange(0, 20, 0.25)
    uneven = np.cumsum(random.uniform(0.05, 0.5, 40))
    return [
        case("growing", hours, 200 * np.exp(0.035 * hours) * random.normal(1, 0.03, hours.size)),
        case("dying", hours, 3000 * np.exp(-0.2 * hours) * random.normal(1, 0.05, hours.size)),
        case("as many as before", hours, random.poisson(80, hours.size)),
        case("uneven times", uneven, 60 * np.exp(0.06 * uneven) * random.normal(1, 0.1, uneven.size)),
        case("few cells, some frames empty", hours[:40], random.poisson(2, 40)),
        case("five points", np.array([0, 0.5, 1.1, 1.9, 2.5]), np.array([50, 55, 61, 72, 80])),
        case("hours since 1970", 490_000 + hours, 90 * np.exp(0.05 * hours) * random.normal(1, 0.02, hours.size)),
    ]


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "data" / "growth.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases()) + "\n]\n")
