"""The published networks, one file per family; `registry` knows them all by name."""
