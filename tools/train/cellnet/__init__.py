"""Network, data, loss, trainer and export of the model that is built into cellsegd."""
