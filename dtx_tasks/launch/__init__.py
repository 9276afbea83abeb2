"""Starts the work of a stage, watches it, stops it, and says what its end means. Local processes, or pods."""

from dtx_tasks.launch.local import LocalProcess
from dtx_tasks.launch.state import Ending, ending_of, is_blocked, is_finished, note_ending

__all__ = ["Ending", "LocalProcess", "ending_of", "is_blocked", "is_finished", "note_ending"]
