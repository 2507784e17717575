"""Raw tables to a labelled pool: cleaning, augmentation, and what to label next."""
