"""What a laboratory does: procedures (plain functions), Prefect flows over them, and the command line."""
