"""Every projection there is, by its name."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from projections.catalog import Catalog
from projections.files import Files
from projections.projection import Swapped
from projections.stats import Stats

SWAPPED: Mapping[str, type[Swapped]] = MappingProxyType({Catalog.name: Catalog, Stats.name: Stats})
"""Those that are one database, which is swapped for a new one; the files converge in place."""

VERSIONS: Mapping[str, int] = MappingProxyType(
    {Catalog.name: Catalog.version, Files.name: Files.version, Stats.name: Stats.version}
)
NAMES = tuple(VERSIONS)
"""In the order in which they are worth having."""


def database_of(data_dir: Path, name: str) -> Path:
    """Return where the database of projection *name* lies."""
    return data_dir / f"{name}.sqlite"
