"""One study a file, named like it: a `sim.study.Study` named STUDY. Statements bring their own."""
