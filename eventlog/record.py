"""`record`: a frozen attrs class for whoever checks types, and a quick one for whoever runs it.

attrs keeps a frozen class from being changed at runtime by way of `object.__setattr__`, at four times the cost of a plain
assignment for each field. A run is a dozen objects of a hundred fields; so for these the type checker alone keeps watch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as record
else:
    from functools import partial

    from attrs import define

    record = partial(define, unsafe_hash=True)

__all__ = ["record"]
