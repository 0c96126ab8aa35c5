"""Batch systems on one machine, for tests and for trying them out. ``tools/slurm`` is made of this.

Standard library only, Linux only. From the ground up: trouble; processes, network, packages; keeper; slurm.
"""
