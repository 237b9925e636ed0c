"""The sink: a service that keeps what the workers predict in SQL, each record exactly once."""
