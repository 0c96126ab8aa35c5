"""One element of the array of `by-hand`: plain Python that makes its call, and leaves the result in a file."""

import os
import pickle

index = os.environ["SLURM_ARRAY_TASK_ID"]
with open("calls", "rb") as file:
    function, items = pickle.load(file)
with open(f"results/{index}.new", "wb") as file:
    pickle.dump(function(items[int(index)]), file)
os.replace(f"results/{index}.new", f"results/{index}")
