"""Repeatable benchmarks of Runlog beside their peers: `python -m bench --help`.

Every figure with a bar is a ratio, or stands beside a peer that was measured in
the same run on the same machine. Servers, peers and clients are separate processes.
"""
