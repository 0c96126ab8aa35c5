"""Batch systems on one machine, for tests and for trying out: what ``tools/slurm`` and ``tools/condor`` are made of.

Standard library only, Linux only. From the ground up: trouble; processes, network, packages, folder, settings; keeper;
cluster; commandline; slurm, condor.
"""
