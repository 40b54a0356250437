"""DataFrame in, DataFrame out: Spark transforms without any reading or writing."""
