"""The database: sessions, transactions, locks, queries, runs, backup; and files written safely."""
