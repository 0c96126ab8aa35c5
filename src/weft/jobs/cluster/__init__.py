"""Jobs on a cluster, run by its batch system alone: whoever has submitted them may go home.

    plan ─> layout: which submissions there are, and what each waits for in the batch system's own words
         ─> submitting: parents first, each written down before it is made (papers, register)
    at the other end: work: takes results of other jobs, runs the job, records what became of it
    whoever looks: survey: outcomes that are there, one question to the batch system, and what follows from both
         (standing, concluding) ─> detached: the run, for those who wait for it

What a batch system cannot say (`layout.Unsayable` says why) is run by the driver, as everywhere, on an executor.
"""
