"""Quality by interval: what each run measured on its holdout, as a table and as a curve."""
