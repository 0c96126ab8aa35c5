"""What ``stdlib_atlas.py`` is made of.

survey   finds and reads sources, adds up packages      layout    where each circle of the picture goes
imports  weighs the graph of imports                    picture   draws it
terminal what a person sees while it runs               publish   writes atlas.json and atlas.svg
"""
