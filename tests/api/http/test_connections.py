"""Connections at their bound, without sockets: which one gives way to a new one, and how."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from api.http.protocol import BoundedServer


class Wire(asyncio.Transport):
    """A transport whose client has left *unread* bytes."""

    def __init__(self, unread: int) -> None:
        super().__init__()
        self.unread, self.ended = unread, ""

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def answer(_: web.BaseRequest) -> web.Response:
    return web.Response()


@pytest.mark.parametrize(("unread", "ended"), [(0, "closed"), (5, "aborted")])
async def test_an_idle_connection_gives_way_at_once_even_if_its_client_does_not_read(unread: int, ended: str):
    """To close one that holds unread bytes waits for its client: nobody would count it meanwhile."""
    server = BoundedServer(web.Server(answer), connections_max=1, idle_timeout_s=30.0)
    wires = [Wire(unread), Wire(0)]
    connections = []
    for wire in wires:
        connections.append(server())
        connections[-1].connection_made(wire)
        await asyncio.sleep(0)  # it begins to wait for a request
    assert [wire.ended for wire in wires] == [ended, ""]
    for connection in connections:
        connection.connection_lost(None)
    await server.shutdown(1)
