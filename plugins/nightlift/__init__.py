"""What Airflow loads: operators, the run date, the words of the tasks."""
