"""Training: the corpus, the model and its checks. Needs the `train` extra."""
