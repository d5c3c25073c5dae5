"""The pipelines: one module each, runnable as `heldout NAME` or `python -m beam_pipelines.NAME`."""
