"""The manager behind the functions of `weft.procs`."""

from weft.engine.states import State as ProcState
from weft.procs.manager import ProcManager

__all__ = [
    "MANAGER",
    "Proc",
    "ProcState",
    "Proto",
    "clear",
    "create",
    "get_procs",
    "get_protos",
    "observe",
    "results",
    "run",
    "set_options",
    "set_params",
    "start",
    "wait",
    "wait_clear",
    "wait_for_all",
]

#: The default manager itself, for its `log_directory` and the like.
MANAGER = ProcManager()

Proc = MANAGER.Proc
Proto = MANAGER.Proto
clear = MANAGER.clear
create = MANAGER.create
get_procs = MANAGER.get_procs
get_protos = MANAGER.get_protos
observe = MANAGER.observe
results = MANAGER.results
run = MANAGER.run
set_options = MANAGER.set_options
set_params = MANAGER.set_params
start = MANAGER.start
wait = MANAGER.wait
wait_clear = MANAGER.wait_clear
wait_for_all = MANAGER.wait_for_all
