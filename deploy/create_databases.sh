#!/bin/sh
# One role without special rights for each database; PostgreSQL's image runs this once, on an empty volume.
set -eu
for name in warehouse airflow mlflow; do
    psql --username postgres -v ON_ERROR_STOP=1 -v name="$name" -v password="$(cat /run/secrets/postgres_password)" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
# What jobs/tables/roles.py would make itself, had its login the right to make roles.
psql --username postgres --dbname warehouse -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE "nightlift_owner" NOLOGIN;
CREATE ROLE "nightlift_loader" NOLOGIN;
CREATE ROLE "nightlift_publisher" NOLOGIN;
CREATE ROLE "nightlift_reader" NOLOGIN;
GRANT "nightlift_owner", "nightlift_loader", "nightlift_publisher" TO "warehouse" WITH INHERIT FALSE, SET TRUE;
GRANT "nightlift_reader" TO "warehouse";
GRANT CONNECT ON DATABASE warehouse TO "nightlift_reader";
SQL
