"""Before a server goes on with its log, those who bear witness of it are asked whether they know more of it than is here.

Then it is an older copy, whoever put it there, and the server ends before it takes a write. A witness that does not answer
is waited for only after a restore, when what is here is known to be old.
"""

import asyncio

import structlog

from api.backup.errors import LogForked, LogOlderThanKnown, WitnessNotHeard
from api.backup.known import forget, read_marker
from api.service import Service

logger = structlog.get_logger("api.backup")


async def compare_with_witnesses(service: Service) -> None:
    """Return if no witness stands against going on, at the latest when a request to a witness times out.

    Raises:
        LogOlderThanKnown: a witness signed more events of this log than there are.
        LogForked, WitnessNotHeard: only after a restore: a witness signed other events, or does not answer.

    """
    data_dir, published = service.settings.data_dir, service.log.notary.published
    marker = read_marker(data_dir)
    if marker is None and published.size == 0:
        return  # nothing was ever signed that could be taken back
    standings = await service.witnesses.heard()
    if marker is not None and not standings:
        logger.warning("log.restored", size=marker.size, taken=marker.taken)
    origin = published.checkpoint.origin
    for standing in standings:
        trouble, name = standing.trouble, f"the witness {standing.witness.name}"
        if trouble is None:
            continue
        if trouble.known_size is not None:
            logger.error(
                "log.older_than_known", origin=origin, size=published.size, known_size=trouble.known_size, known_by=name
            )
            raise LogOlderThanKnown(origin, published.size, trouble.known_size, name)
        if marker is not None and trouble.is_split:
            raise LogForked(origin, published.size, standing.size, name)
        if marker is not None and published.size:
            raise WitnessNotHeard(standing.witness.name, trouble.reason)
    if marker is not None:
        await asyncio.to_thread(forget, data_dir)
