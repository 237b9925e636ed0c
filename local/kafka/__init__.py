"""A real Apache Kafka broker on this machine, from Maven artifacts: one node, KRaft, loopback only."""
