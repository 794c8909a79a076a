"""An ordered, durable, tamper-evident log of events. It knows nothing of runs.

Nothing here imports `projections` or `api`; `tests/test_layers.py` holds that.
"""
