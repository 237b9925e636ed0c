"""What long-running processes of Baton's have in common: probes and metrics, signals, a watchdog, systemd, exits."""
