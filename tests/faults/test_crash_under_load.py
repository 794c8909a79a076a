"""The real server ends while clients write: by `kill -9` (`make soak`: a hundred times), and by SIGTERM."""

import os

from attrs import evolve

from tests.faults.load import (
    Added,
    Load,
    Sent,
    a_retry_never_doubles,
    all_agrees,
    every_acknowledged_addition_is_served,
    every_acknowledged_run_is_served,
    every_addition_is_settled,
    post,
)
from tests.server import Server, until

CYCLES = 100 if "SOAK" in os.environ else 5


def test_nothing_acknowledged_is_lost_and_no_retry_doubles_when_the_server_is_killed_under_load(
    own_server: Server,
) -> None:
    """Counted by the clients; the moment of the kill is another each time."""
    settled: list[Sent] = []
    all_added: list[Added] = []
    for cycle in range(CYCLES):
        grown = post(own_server)
        assert grown.run is not None
        run_id = grown.run["run_id"]
        load = Load(own_server.port, run_id).start()
        until(lambda load=load, cycle=cycle: load.acknowledged >= 20 + 37 * (cycle % 8), "it was acknowledged", 60)
        own_server.kill()
        sent = load.join()
        assert load.others == []
        assert any(one.run is None for one in sent)  # it was under load indeed
        own_server.start()
        every_acknowledged_run_is_served(own_server, sent)
        every_acknowledged_addition_is_served(own_server, run_id, load.added)
        settled += a_retry_never_doubles(own_server, sent)
        added = every_addition_is_settled(own_server, load.added)
        every_acknowledged_addition_is_served(own_server, run_id, added)
        settled.append(evolve(grown, run=own_server.run(run_id)))
        all_added += added
    every_acknowledged_run_is_served(own_server, settled)
    all_agrees(own_server, settled, all_added)


def test_a_server_told_to_end_under_load_ends_in_order_and_keeps_what_it_acknowledged(own_server: Server) -> None:
    """Exit code 0 though clients would go on for ever."""
    load = Load(own_server.port).start()
    until(lambda: load.acknowledged >= 50, "runs were acknowledged", 20)
    assert own_server.stop() == 0
    sent = load.join()
    own_server.start()
    every_acknowledged_run_is_served(own_server, sent)
    all_agrees(own_server, a_retry_never_doubles(own_server, sent))
