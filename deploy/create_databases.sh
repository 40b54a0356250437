#!/bin/sh
# One role without special rights for each database; PostgreSQL's image runs this once, on an empty volume.
set -eu
for name in warehouse airflow mlflow; do
    psql --username postgres -v ON_ERROR_STOP=1 -v name="$name" -v password="$(cat /run/secrets/postgres_password)" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
