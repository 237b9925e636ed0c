"""Baton's own databases: connections, transactions, the types of their columns, and migrations."""
