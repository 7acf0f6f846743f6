"""What was measured, of any layer: records, counts, intervals, paired changes, comparisons."""
