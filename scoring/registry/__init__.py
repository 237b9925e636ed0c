"""Where bundles are kept by version: the port, its adapters (MLflow, a folder), and the process that fetches."""
