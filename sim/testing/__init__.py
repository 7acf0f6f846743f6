"""Theory against counts: bands, exact tests, errors counted on samples."""
