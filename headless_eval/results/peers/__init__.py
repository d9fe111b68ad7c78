"""Results of other evaluators as records: ``eval_info.json`` of lerobot-eval and recordings of vla-eval.

They are read and never written. What such a file does not record (seeds, initial states, times, precision) is named by
its notes, and its records say so by ``unrecorded``.
"""

from headless_eval.results.peers.run import PeerRun, find_file, is_named_like_one, open_peers

__all__ = ["PeerRun", "find_file", "is_named_like_one", "open_peers"]
