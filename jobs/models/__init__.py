"""Arrays and frames in, numbers out: ranker, effect models, pooling and their metrics."""
