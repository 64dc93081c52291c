"""The record. One text of SQL (sql/queries.sql, sql/migrations/) for SQLite and PostgreSQL."""
