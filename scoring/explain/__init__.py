"""What happened to a record: its outcome told in full from what is on record, and scored again."""
