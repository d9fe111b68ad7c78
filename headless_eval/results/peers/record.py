"""Records of another evaluator's episodes, which say what is not recorded."""

from dataclasses import dataclass

from headless_eval.results.peers.found import FoundEpisode, FoundTask
from headless_eval.results.record import SUCCESS, EpisodeRecord

_NEVER = ("task_id", "dtype", "mode", "scope", "instruction", "replans", "actions_sha256")
_NEVER_TIMES = ("sim_s", "render_s", "infer_s", "started_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord(EpisodeRecord):
    """An episode of another evaluator; the fields that its file does not record hold 0 or nothing.

    Args:
        unrecorded: the names of these fields.
        assumed_same: whether the user says that episodes of this task and number are the same.
    """

    unrecorded: frozenset[str] = frozenset()
    assumed_same: bool = False


def record_of(
    one: FoundEpisode, task: FoundTask, task_id: int, variant: str, assumed_same: bool
) -> PeerRecord:
    """Return an episode as a record of a variant; ``task_id`` orders the tasks of this run, and no other run's."""
    open_values = {
        "steps": one.steps,
        "max_steps": task.max_steps,
        "seed": one.seed,
        "total_s": one.seconds,
    }
    unknown = {name for name, value in open_values.items() if value is None}
    return PeerRecord(
        configuration=variant,
        dtype="",
        mode="",
        scope="",
        task_id=task_id,
        task_key=task.key,
        task_name=task.name,
        instruction="",
        episode=one.episode,
        status=one.status,
        success=one.status == SUCCESS,
        steps=one.steps or 0,
        max_steps=task.max_steps or 0,
        seed=one.seed or 0,
        replans=0,
        actions_sha256="",
        video=None,
        sim_s=0.0,
        render_s=0.0,
        infer_s=0.0,
        total_s=one.seconds or 0.0,
        started_at="",
        error=one.error,
        metrics=dict(one.metrics) if one.metrics else None,
        unrecorded=frozenset((*_NEVER, *_NEVER_TIMES, *unknown)),
        assumed_same=assumed_same,
    )
