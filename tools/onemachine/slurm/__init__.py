"""A real Slurm: munge, slurmctld and a slurmd for each node, all on this machine.

From the ground up: conf (what its files say), folder (where they are), daemons (what runs), leftovers (what must
not go on), cluster (up and down), command (what a user types).
"""
