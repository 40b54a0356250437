-- The mart as the first version of Nightlift made it, by the login and without roles, with a night of four users.
CREATE SCHEMA {mart};
CREATE TABLE {mart}.recommendations_history (
    run_date date NOT NULL, user_id text NOT NULL, rank integer NOT NULL, item_id text NOT NULL,
    score double precision NOT NULL, relevance double precision NOT NULL, effect double precision NOT NULL,
    effect_low double precision NOT NULL, effect_high double precision NOT NULL, identified boolean NOT NULL,
    policy text NOT NULL, propensity double precision NOT NULL, reason text NOT NULL, ranker_version text NOT NULL,
    uplift_version text, version_id text NOT NULL, mlflow_run_id text NOT NULL) PARTITION BY LIST (version_id);
CREATE TABLE {mart}.versions (
    version_id text PRIMARY KEY, run_date date NOT NULL, ranker_version text NOT NULL, uplift_version text,
    mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL, loaded_at timestamptz NOT NULL,
    verdict text NOT NULL);
CREATE TABLE {mart}.published (
    table_name text PRIMARY KEY, version_id text NOT NULL, run_date date NOT NULL, ranker_version text NOT NULL,
    uplift_version text, mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL,
    published_at timestamptz NOT NULL, verdict text NOT NULL);
CREATE TABLE {mart}.item_effects (
    version_id text NOT NULL, level text NOT NULL, key text NOT NULL, method text NOT NULL,
    estimate double precision NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
    treated bigint NOT NULL, control bigint NOT NULL, overlap_share double precision, identified boolean NOT NULL,
    PRIMARY KEY (version_id, level, key, method));
CREATE TABLE {mart}.user_profiles (
    version_id text NOT NULL, user_id text NOT NULL, segment integer NOT NULL, segment_label text NOT NULL,
    preferences text NOT NULL, factors text, PRIMARY KEY (version_id, user_id));
CREATE TABLE {mart}.run_metrics (
    run_date date NOT NULL, version_id text NOT NULL, metric text NOT NULL, value double precision NOT NULL,
    low double precision, high double precision, PRIMARY KEY (run_date, version_id, metric));
CREATE TABLE {mart}.relevance_lists (
    version_id text NOT NULL, user_id text NOT NULL, rank integer NOT NULL, item_id text NOT NULL,
    relevance double precision NOT NULL, PRIMARY KEY (version_id, user_id, rank));
CREATE VIEW {mart}.recommendations AS
    SELECT history.* FROM {mart}.recommendations_history AS history
    WHERE history.version_id = (SELECT published.version_id FROM {mart}.published
                                WHERE published.table_name = 'recommendations');
CREATE TABLE {mart}.recommendations_aaaaaaaa (LIKE {mart}.recommendations_history INCLUDING ALL);
INSERT INTO {mart}.recommendations_aaaaaaaa
    SELECT '2024-01-08', 'u' || number, place, 'i' || place, 0.5 / place, 0.1, 0.02, 0.01, 0.03, true,
        CASE number WHEN 3 THEN 'relevance' ELSE 'adjusted' END, 1, 'because', '1', '1', 'aaaaaaaa', 'run'
    FROM generate_series(0, 3) AS number, generate_series(1, 2) AS place;
ALTER TABLE {mart}.recommendations_aaaaaaaa ADD PRIMARY KEY (user_id, rank);
ALTER TABLE {mart}.recommendations_history ATTACH PARTITION {mart}.recommendations_aaaaaaaa FOR VALUES IN ('aaaaaaaa');
INSERT INTO {mart}.versions VALUES ('aaaaaaaa', '2024-01-08', '1', '1', 'run', 8,
    'cda127d73a25815e8d41b807dfbb195050033c0e8abcd623f9a7b478a582e32b', '2024-01-08T04:00Z', 'proved');
INSERT INTO {mart}.published VALUES ('recommendations', 'aaaaaaaa', '2024-01-08', '1', '1', 'run', 8,
    'cda127d73a25815e8d41b807dfbb195050033c0e8abcd623f9a7b478a582e32b', '2024-01-08T04:00Z', 'proved');
INSERT INTO {mart}.run_metrics VALUES ('2024-01-08', 'aaaaaaaa', 'qini', 0.02, 0.01, 0.03);
