-- Who may do what in the database `nightjar`, which holds receipts, releases and the catalogue.
-- Run once, as the owner, after the first night:  psql -d nightjar -f infra/postgres/roles.sql
-- Give people a role with  GRANT nightjar_analysts TO ann;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightjar_analysts') THEN
    CREATE ROLE nightjar_analysts NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightjar_operators') THEN
    CREATE ROLE nightjar_operators NOLOGIN;
  END IF;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO nightjar_analysts, nightjar_operators;

-- Analysts: which release is current and where its tables lie. No receipts, no plans, nobody's
-- erasure. What they may read of the files themselves is set on the lake's storage.
GRANT SELECT ON releases, current_release, iceberg_tables, iceberg_namespace_properties
  TO nightjar_analysts;

-- Operators: run, backfill, roll back. They cannot change what tables there are.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO nightjar_operators;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO nightjar_operators;

-- Owners: who made the tables, with everything. Erasing somebody takes no more than an operator's
-- rights; who may do it is decided in Prefect.
