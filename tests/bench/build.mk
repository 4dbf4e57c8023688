test-progs += tests/bench/loadgen
