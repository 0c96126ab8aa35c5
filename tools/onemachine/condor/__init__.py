"""A real HTCondor: collector, negotiator, schedd and a startd for each node, all on this machine.

From the ground up: identity (who we are to it), programs (where they come from), conf (what its file says), folder
(where it is), daemons (what runs), leftovers (what must not go on), cluster (up and down), command (what a user types).
"""
