"""Sessions of `m890sim.protocol` for other frameworks, one file each, which alone imports it.

Each needs the extra of its name (`pip install "m890sim[inspect]"`); docs/connect.md has a command
for each. Nothing in the package imports this folder.
"""
