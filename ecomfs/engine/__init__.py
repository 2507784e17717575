"""A prompt to log-probabilities or text: the protocol of engines, one folder per runtime."""
