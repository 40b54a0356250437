"""What jobs run on: site files, arguments, environment, Spark session, MLflow tracking, local services."""
