"""The laboratory: data, networks, training, the papers' experiments, pictures, the command line.

It imports the library (everything else in `permtrain`), never the reverse.
"""
