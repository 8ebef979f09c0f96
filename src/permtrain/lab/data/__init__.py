"""Images in memory: where they come from, their order, their scale and their augmentation."""
