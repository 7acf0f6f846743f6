"""The page: statements, explorer, figures and tables in one file."""
